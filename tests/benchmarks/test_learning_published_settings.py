"""That peers run with the settings of rl_zoo3's files, and that our file has those of our runs."""

import itertools
import re
from pathlib import Path

import pytest
import yaml
from torch import nn

import sb3_trpo
from benchmarks.learning import experiments
from benchmarks.learning.__main__ import EXPERIMENTS, RESULTS
from benchmarks.learning.configuration import OUTSIDE_CONSTRUCTOR, Configuration
from benchmarks.learning.configurations import configuration
from benchmarks.learning.models import constructor_defaults
from benchmarks.learning.schedules import linear
from benchmarks.learning.selection import reported_jobs
from benchmarks.learning.suites import CELLS, RECURRENT, SUITES

rl_zoo3 = pytest.importorskip("rl_zoo3")

FILES = {"contrib_trpo": "trpo", "ppo": "ppo", "a2c": "a2c", "recurrent_ppo": "ppo_lstm"}
OF_FILES = [cell for cell in CELLS if cell[0] in FILES]


def as_settings(entry):
    """An entry of the zoo, written as a configuration is; what it leaves out is the default."""
    entry = {"n_envs": 1, "gamma": 0.99, **entry}
    del entry["n_timesteps"]
    normalize = entry.get("normalize")
    entry["normalize"] = {} if normalize is True else normalize or None
    for key, value in entry.items():
        if isinstance(value, str) and value.startswith("lin_"):
            entry[key] = linear(float(value.removeprefix("lin_")))
    if "policy_kwargs" in entry:
        kwargs = eval(entry["policy_kwargs"], {"nn": nn})  # as rl_zoo3 reads it
        if "activation_fn" in kwargs:
            kwargs["activation_fn"] = kwargs["activation_fn"].__name__
        entry["policy_kwargs"] = kwargs
    return entry


def as_ran(settings):
    """A configuration in the same form."""
    return {**settings.settings, **{name: getattr(settings, name) for name in OUTSIDE_CONSTRUCTOR}}


# What the file has commented out, where the task's own entry is worse: configurations.py says why.
COMMENTED_OUT = [("ppo", "Hopper-v4"), ("ppo", "Ant-v4")]


def commented_out(text, name):
    """The last entry of a task that is commented out, with the defaults that it refers to."""
    lines = text.splitlines()
    defaults = next(i for i, line in enumerate(lines) if line.endswith("&mujoco-defaults"))
    first = max(i for i, line in enumerate(lines) if line == f"# {name}:")
    block = list(itertools.takewhile(lambda line: line.startswith("# "), lines[first:]))
    used = [*lines[defaults : lines.index("", defaults)], *block]
    entries = yaml.safe_load("\n".join(line.removeprefix("# ") for line in used))
    return entries[name]


@pytest.mark.parametrize(("algorithm", "task"), OF_FILES)
def test_peer_runs_with_its_published_setting(algorithm, task):
    name = task.replace("NoVelocity-v1", "NoVel-v1").replace("NoVelocity", "").replace("-v5", "-v4")
    file = Path(rl_zoo3.__file__).parent / "hyperparams" / f"{FILES[algorithm]}.yml"
    if (algorithm, name) in COMMENTED_OUT:
        entry = commented_out(file.read_text(), name)
    else:
        entry = yaml.safe_load(file.read_text())[name]
    assert as_ran(configuration(algorithm, task)) == as_settings(entry)


OUR_FILES = Path(sb3_trpo.__file__).parent / "zoo" / "hyperparams"
OURS = OUR_FILES / "trpo.yml"
# The comment above an entry says how many seeds stand behind it.
N_SEEDS = {
    task: {"five": 5, "ten": 10}[said]
    for said, task in re.findall(
        r"^# (five|ten) seeds.*\n(?:#.*\n)?(\S+?):", OURS.read_text(), flags=re.MULTILINE
    )
}


def test_tasks_of_the_benchmark_have_entries_with_seeds_behind_them():
    assert sorted(N_SEEDS) == sorted([*SUITES["mujoco"], *SUITES["classic"]])


@pytest.mark.parametrize("task", N_SEEDS)
def test_our_entry_is_what_its_seeds_ran_with(task):
    entry = yaml.safe_load(OURS.read_text())[task]
    if task in experiments.OWN_IN_ZOO:
        ran_as = (experiments.OWN, experiments.OWN_FRESH)
        jobs = [job for name in ran_as for job in experiments.jobs(name, EXPERIMENTS, [task], None)]
    else:
        jobs = reported_jobs(RESULTS, ["trpo"], [task], None)
        jobs += experiments.jobs(experiments.FRESH, EXPERIMENTS, [task], None)
    assert [job.seed for job in jobs if job.path.exists()] == list(range(N_SEEDS[task]))
    assert all(job.configuration == jobs[0].configuration for job in jobs)
    ran = jobs[0].configuration
    arguments = constructor_defaults(Configuration("trpo", task, steps=1))
    assert {**arguments, **as_ran(ran)} == {**arguments, **as_settings(entry)}
    assert entry["n_timesteps"] == ran.steps


@pytest.mark.parametrize("task", ["CartPoleNoVelocity-v1", "PendulumNoVelocity-v1"])
def test_our_entry_with_hidden_velocities_is_the_benchmarks_but_for_delta(task):
    file = yaml.safe_load((OUR_FILES / "recurrent_trpo.yml").read_text())
    entry = file[task.replace("NoVelocity", "NoVel")]
    ran = configuration(RECURRENT, task)
    schedule = ran.settings["target_kl"]["linear"]
    found, expected = as_settings(entry), as_ran(ran)
    assert schedule[0] > found.pop("target_kl") > schedule[1]
    del expected["target_kl"]
    assert found == expected
    assert entry["n_timesteps"] == ran.steps
