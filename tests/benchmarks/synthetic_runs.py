"""Finished runs of given scores, and the report that they make."""

from benchmarks.learning import store
from benchmarks.learning.configuration import Configuration
from benchmarks.learning.configurations import configuration
from benchmarks.learning.models import constructor_defaults
from benchmarks.learning.report import make_report
from benchmarks.learning.suites import SUITES

MUJOCO = list(SUITES["mujoco"])


def synthetic(algorithm, task, seed, score, **changes):
    """A run with a given score and a straight learning curve."""
    made_with = changes.get("configuration", configuration(algorithm, task).as_json())
    fields = {
        "algorithm": algorithm,
        "environment": task,
        "seed": seed,
        "steps": 1000,
        "configuration": made_with,
        "defaults": constructor_defaults(Configuration(**made_with)),
        "versions": {},
        "machine": {"cpu": "this"},
        "curve": {
            "step": [250.0, 500.0, 1000.0],
            "wall_s": [1.0, 2.0, 4.0],
            "cpu_s": [0.9, 1.8, 3.6],
            "return": [0.0, score / 2, score],
            "length": [10.0, 10.0, 10.0],
            "rows": [1, 1, 1],
        },
        "updates": None,
        "skipped_updates": None,
        "evaluation": {"seed": seed + 10_000, "mean": score, "std": 0.5, "returns": [score] * 20},
        "train_last100": score,
        "wall_s": 4.0,
        "cpu_s": 3600.0,
    }
    return store.Run(**{**fields, **changes})


def save(folder, *runs):
    for run in runs:
        store.write(store.path_of(folder, run.algorithm, run.environment, run.seed), run)


def report(tmp_path, name="report", idle=None):
    folders = (tmp_path / folder for folder in ("results", "experiments", "paces"))
    make_report(*folders, idle=idle or {}, out=tmp_path / name, command="the command")
    return (tmp_path / name / "report.md").read_text()


def row(markdown, first):
    """The cells of the first table row that starts with a text."""
    line = next(line for line in markdown.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def full_mujoco(algorithm, factor, *, n_seeds=2):
    """Some seeds on every task: factor times 90 and 110 in turn."""
    return [
        synthetic(algorithm, task, seed, factor * (90.0, 110.0)[seed % 2])
        for task in MUJOCO
        for seed in range(n_seeds)
    ]


def on(cpu, algorithm, seed, cpu_s):
    """A run of 1000 steps on Hopper-v5."""
    return synthetic(algorithm, "Hopper-v5", seed, 1.0, machine={"cpu": cpu}, cpu_s=cpu_s)
