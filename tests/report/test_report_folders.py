"""Reports of what examples/train.py and rl_zoo3 really leave."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sb3_trpo.report.charts import Drawing
from sb3_trpo.report.page import page as page_of
from sb3_trpo.report.runs import read_runs

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def run(*arguments, folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, arguments)]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)


def test_folder_of_the_example(tmp_path):
    command = [ROOT / "examples" / "train.py", "--env", "CartPole-v1", "--steps", "2000"]
    run(*command, folder=tmp_path)
    (once,) = read_runs([tmp_path / "runs"])
    assert once.name == "CartPole-v1-seed0"
    assert once.algorithm == "TRPO"
    assert once.hyperparameters["n_steps"] == "64"
    schedule = "LinearSchedule(start=0.031, end=0.001, end_fraction=1)"
    assert once.hyperparameters["target_kl"] == schedule
    assert 'id="kl_utilization"' in page_of(Drawing([once]), "")
    run(*command, folder=tmp_path)
    first, second = read_runs([tmp_path / "runs"])
    names = [f"CartPole-v1-seed0/tensorboard/TRPO_{number}" for number in (1, 2)]
    assert [first.name, second.name] == names
    assert not first.hyperparameters
    assert second.hyperparameters == once.hyperparameters


def test_folders_of_rl_zoo3(tmp_path):
    command = ["-m", "sb3_trpo.zoo", "train", "--algo", "trpo", "--env", "CartPole-v1"]
    options = ["-n", "2000", "--eval-freq", "1000", "--tensorboard-log", "tb", "--seed", "3"]
    run(*command, *options, folder=tmp_path)
    (alone,) = read_runs([tmp_path / "logs"])
    assert alone.environment == "CartPole-v1"
    assert alone.sources == "8 monitor files, evaluations.npz"
    assert alone.hyperparameters["learning_rate"] == "lin_2e-3"
    assert alone.hyperparameters["seed"] == "3"
    logs, events = tmp_path / "logs/trpo/CartPole-v1_1", tmp_path / "tb/CartPole-v1/TRPO_1"
    (joined,) = read_runs([f"{logs}+{events}"])
    assert joined.name == "CartPole-v1_1"
    assert joined.algorithm == "TRPO"
    assert joined.series("train/kl_utilization") is not None
    assert joined.hyperparameters == alone.hyperparameters
