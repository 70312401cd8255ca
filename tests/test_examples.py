"""The examples run, in a short form, as a user starts them."""

import re
from pathlib import Path

import pytest
from stable_baselines3.common.monitor import load_results

from tests.commands import output_of

EXAMPLES = Path(__file__).parents[1] / "examples"
SHORT = {
    "compare.py": (["--steps", "600", "--seeds", "1"], r"TRPO: [\d.]+\n.*\ncompare.png"),
    "continue_from_ppo.py": (["--steps", "1024"], r"TRPO after PPO: \d+ ± \d+"),
    "custom_extractor.py": (["--steps", "512"], r"mean return of the last \d+ episodes: -?[\d.]+"),
    "hyperparameter_search.py": (
        ["--steps", "1024", "--trials", "2"],
        r"best of 2 trials, 0 of them cut short: [\d.]+\n  target_kl: ",
    ),
    "export_policy.py": (["--steps", "1024"], r"ONNX differs by at most \d\.\de-0[5-9]"),
    "images.py": (["--steps", "512"], r"right answers in the last \d+ episodes: \d+%"),
    "load_untrusted.py": (
        ["--steps", "512"],
        r"REFUSED with trusted=False:.*learning_rate: .*whose code is in the file.*"
        r"loaded with settings of our own: \d+ ± \d+",
    ),
    "masked_actions.py": (["--steps", "512"], r"return: -[\d.]+ ± [\d.]+"),
    "memory.py": (["--steps", "1024"], r"with memory: +\d+ ± \d+"),
    "train.py": (
        ["--env", "CartPole-v1", "--steps", "512"],
        r"CartPole-v1, 512 steps, 10 episodes",
    ),
}
SLOW = {"compare.py", "hyperparameter_search.py"}
ELSEWHERE = {
    "distributed.py": "test_distributed_example.py",
    "plot_runs.py": "test_runs_of_the_example_are_plotted",
    "ray_train.py": "needs Ray",
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in SHORT]
)
def test_example_runs(name, tmp_path):
    arguments, prints = SHORT[name]
    printed = output_of(EXAMPLES / name, *arguments, cwd=tmp_path)
    assert re.search(prints, printed, re.DOTALL), printed


@pytest.mark.slow
def test_runs_of_the_example_are_plotted(tmp_path):
    train = EXAMPLES / "train.py"
    output_of(train, "--env", "CartPole-v1", "--steps", "1500", cwd=tmp_path)
    plot = [EXAMPLES / "plot_runs.py", "runs/CartPole-v1-seed0", "--out", "runs.png"]
    assert output_of(*plot, cwd=tmp_path).split() == ["runs.png"]
    assert (tmp_path / "runs.png").stat().st_size > 10_000


def test_episodes_that_the_example_records_are_those_of_training(tmp_path):
    first = ["--env", "CartPole-v1", "--steps", "600", "--resume"]  # nothing there to resume
    printed = output_of(EXAMPLES / "train.py", *first, cwd=tmp_path)
    assert "goes on" not in printed
    assert "CartPole-v1, 1024 steps" in printed
    recorded = load_results(str(tmp_path / "runs" / "CartPole-v1-seed0"))
    assert 0 < recorded["l"].sum() <= 1024


def test_every_example_is_run_or_says_why_not():
    assert {path.name for path in EXAMPLES.glob("*.py")} == SHORT.keys() | ELSEWHERE.keys()
