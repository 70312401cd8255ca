"""rl_zoo3's own scripts with our algorithms, run as a user runs them."""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest
import rl_zoo3
import yaml
from rl_zoo3.exp_manager import ExperimentManager

from benchmarks.learning.configurations import configuration
from benchmarks.learning.experiments import OWN_IN_ZOO, OWN_SETTINGS
from benchmarks.learning.models import build_model
from benchmarks.learning.suites import SUITES
from sb3_trpo import TRPO, MaskableTRPO, RecurrentTRPO
from sb3_trpo.zoo import ALGORITHMS
from sb3_trpo.zoo.__main__ import HYPERPARAMETERS, with_our_hyperparameters
from tests.commands import output_of


def run(folder, *arguments, module="sb3_trpo.zoo", **environment):
    """Run a script in a folder; what it printed."""
    return output_of("-m", module, *arguments, cwd=folder, MPLBACKEND="Agg", **environment)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")
    output = run(
        folder, "train", "--algo", "trpo", "--env", "CartPole-v1", "-n", 1500, "--eval-freq", 500
    )
    return folder, output


def test_train_uses_our_algorithm_and_our_hyperparameters(trained):
    folder, output = trained
    assert str(HYPERPARAMETERS / "trpo.yml") in output
    assert "kl_utilization" in output
    run_folder = folder / "logs" / "trpo" / "CartPole-v1_1"
    model = TRPO.load(run_folder / "CartPole-v1.zip")
    assert model.num_timesteps == 2 * 8 * 128  # 1500, rounded up to whole rollouts
    assert (run_folder / "best_model.zip").exists()


def test_enjoy_loads_what_train_left(trained):
    folder, _ = trained
    enjoy = ["enjoy", "--algo", "trpo", "--env", "CartPole-v1", "-f", "logs", "--no-render"]
    assert "Mean reward" in run(folder, *enjoy, "-n", 600)


def test_search_runs_trials_of_our_sampler(tmp_path):
    train = ["train", "--algo", "trpo", "--env", "CartPole-v1", "-n", 600, "--no-optim-plots"]
    search = ["-optimize", "--n-trials", 2, "--n-startup-trials", 1, "--n-evaluations", 1]
    output = run(tmp_path, *train, *search, "--storage", "search.log", "--study-name", "search")
    assert "Number of finished trials:  2" in output
    assert "cg_damping" in output
    # and the best trial becomes hyperparameters again
    best = ["--storage", "search.log", "--study-name", "search", "--trial-id", 0]
    assert "Saving to" in run(tmp_path, *train, *best, "--eval-freq", -1)


def test_plain_rl_zoo3_command_takes_our_trpo_by_gym_packages(tmp_path):
    train = ["--algo", "trpo", "--env", "CartPole-v1", "-n", 2000, "--eval-freq", -1]
    output = run(tmp_path, *train, "--gym-packages", "sb3_trpo.zoo", module="rl_zoo3.train")
    assert "kl_utilization" in output


def test_recurrent_algorithm_is_registered(tmp_path):
    task = ["--algo", "recurrent_trpo", "--env", "CartPoleNoVel-v1"]
    output = run(tmp_path, "train", *task, "-n", 100, "--eval-freq", -1)
    assert str(HYPERPARAMETERS / "recurrent_trpo.yml") in output
    model = "logs/recurrent_trpo/CartPoleNoVel-v1_1/CartPoleNoVel-v1.zip"
    assert RecurrentTRPO.load(tmp_path / model).policy.lstm_actor.hidden_size == 64


@pytest.mark.slow
def test_other_scripts_run(trained):
    folder, _ = trained
    agent = "logs/trpo/CartPole-v1_1/CartPole-v1.zip"
    task = ["--algo", "trpo", "--env", "CartPole-v1"]
    output = run(folder, "train", *task, "-n", 600, "-i", agent, "--eval-freq", 500)
    assert "Loading pretrained agent" in output
    run(folder, "plot_train", "-a", "trpo", "-e", "CartPole-v1", "-f", "logs")
    plots = ["all_plots", "-a", "trpo", "-e", "CartPole-v1", "-f", "logs", "--no-display"]
    assert "CartPole-v1" in run(folder, *plots)
    output = run(folder, "benchmark", "--log-dir", "logs", "--no-hub", "--test-mode", "-n", 600)
    assert "Results written" in output
    run(folder, "record_video", *task, "-f", "logs", "-n", 20)
    assert list(folder.rglob("*.mp4"))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="rl_zoo3's record_training calls ffmpeg")
def test_training_is_recorded(tmp_path):
    task = ["--algo", "trpo", "--env", "CartPole-v1"]
    run(tmp_path, "train", *task, "-n", 600, "--eval-freq", -1, "--save-freq", 512)
    run(tmp_path, "record_training", *task, "-f", "logs", "-n", 20)
    videos = {path.name for path in tmp_path.rglob("*.mp4")}
    assert "training.mp4" in videos
    assert any(name.startswith("checkpoint-512") for name in videos)


def test_wrong_script_is_refused_with_the_names(tmp_path):
    command = [sys.executable, "-m", "sb3_trpo.zoo", "trian"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "all_plots" in done.stderr


def test_users_own_file_goes_before_ours():
    ours = str(HYPERPARAMETERS / "trpo.yml")
    assert with_our_hyperparameters(["--algo", "trpo"])[-1] == ours
    assert with_our_hyperparameters(["--algo=trpo"])[-1] == ours
    for given in (["-conf", "mine.yml"], ["--conf-file", "mine.yml"], ["--conf-file=mine.yml"]):
        arguments = ["--algo", "trpo", *given]
        assert with_our_hyperparameters(arguments) == arguments
    assert with_our_hyperparameters(["--algo", "ppo"]) == ["--algo", "ppo"]


# --- files of hyperparameters ---------------------------------------------------------------------


def entries(path):
    return list(yaml.safe_load(Path(path).read_text()).items())


def built(algorithm, entry, environment, tmp_path):
    """A model with an entry's hyperparameters, read by rl_zoo3."""
    manager = ExperimentManager(
        argparse.Namespace(), algorithm, environment, str(tmp_path), verbose=0
    )
    arguments, *_ = manager._preprocess_hyperparams(dict(entry))
    env = manager.create_envs(1, no_log=True)
    return ALGORITHMS[algorithm](env=env, device="cpu", **arguments)


ZOOS_FILE = Path(rl_zoo3.__file__).parent / "hyperparams" / "trpo.yml"


@pytest.mark.filterwarnings("ignore:batch_size=")
@pytest.mark.parametrize(("name", "entry"), entries(ZOOS_FILE))
def test_zoos_own_file_is_accepted_whole(name, entry, tmp_path):
    needs_box = entry.get("use_sde") or "Continuous" in name
    environment = "Pendulum-v1" if needs_box else "CartPole-v1"
    entry = {key: value for key, value in entry.items() if key not in ("env_wrapper", "policy")}
    model = built("trpo", {**entry, "policy": "MlpPolicy"}, environment, tmp_path)
    for key, value in entry.items():
        if key in ("n_steps", "cg_max_steps", "cg_damping", "target_kl", "sub_sampling_factor"):
            assert getattr(model, key) == pytest.approx(value)


OURS = [(path.stem, *item) for path in HYPERPARAMETERS.glob("*.yml") for item in entries(path)]


@pytest.mark.filterwarnings("ignore:batch_size=")
@pytest.mark.parametrize(("algorithm", "name", "entry"), OURS)
def test_our_entries_build_a_model_of_their_task(algorithm, name, entry, tmp_path):
    if algorithm == "maskable_trpo":
        pytest.skip("rl_zoo3 has no task with masks; a test below brings one")
    if name == "atari":
        gymnasium.register_envs(pytest.importorskip("ale_py"))
        name = "PongNoFrameskip-v4"
    model = built(algorithm, entry, {"default": "Pendulum-v1"}.get(name, name), tmp_path)
    assert type(model) is ALGORITHMS[algorithm]
    assert MaskableTRPO is ALGORITHMS["maskable_trpo"]
    given = entry.get("n_steps", model.n_steps)
    assert model.n_steps == given


@pytest.mark.parametrize(("algorithm", "name", "entry"), OURS)
def test_numbers_in_our_files_are_numbers(algorithm, name, entry):
    for key, value in entry.items():
        if isinstance(value, str):  # YAML takes 1e-3 for one
            with pytest.raises(ValueError, match="could not convert"):
                float(value)
            assert key in ("policy", "learning_rate", "policy_kwargs"), (algorithm, name)


@pytest.mark.parametrize("task", SUITES["mujoco"])
def test_our_entries_for_mujoco_are_what_the_benchmark_ran(task, tmp_path):
    entry = dict(entries(HYPERPARAMETERS / "trpo.yml"))[task]
    own = OWN_SETTINGS[task] if task in OWN_IN_ZOO else {}
    ours = configuration("trpo", task).changed(own)
    assert entry["n_envs"] == ours.n_envs
    models = built("trpo", entry, task, tmp_path), build_model(ours, seed=0)
    for name in ours.settings:
        values = [getattr(model, name) for model in models]
        if callable(values[0]):
            values = [[schedule(progress) for progress in (1, 0.5, 0)] for schedule in values]
        assert values[0] == values[1], name


PYTHON_FILE = """
from stable_baselines3.common.utils import LinearSchedule

hyperparams = {
    "Pendulum-v1": {
        "n_timesteps": 100,
        "policy": "MlpPolicy",
        "n_steps": 64,
        "noise_correlation": LinearSchedule(0.8, 0.0, end_fraction=1.0),
    }
}
"""


def test_python_files_of_rl_zoo3_may_hold_schedules_of_ours(tmp_path):
    (tmp_path / "mine.py").write_text(PYTHON_FILE)
    task = ["--algo", "trpo", "--env", "Pendulum-v1", "--eval-freq", -1]
    output = run(tmp_path, "train", *task, "-conf", tmp_path / "mine.py")
    assert "noise_correlation" in output
    model = TRPO.load(tmp_path / "logs/trpo/Pendulum-v1_1/Pendulum-v1.zip")
    assert model.noise_correlation(0.5) == 0.4


def test_maskable_algorithm_trains_on_a_task_with_masks(tmp_path):
    task = ["--algo", "maskable_trpo", "--env", "InvalidActionDiscrete-v0", "-n", 100]
    packages = ["--gym-packages", "benchmarks.learning.tasks"]
    root = str(Path(__file__).parents[1])
    output = run(tmp_path, "train", *task, *packages, "--eval-freq", -1, PYTHONPATH=root)
    assert str(HYPERPARAMETERS / "maskable_trpo.yml") in output
    model = "logs/maskable_trpo/InvalidActionDiscrete-v0_1/InvalidActionDiscrete-v0.zip"
    assert MaskableTRPO.load(tmp_path / model).learning_rate(1) == 0.001


def test_files_say_of_each_entry_where_it_comes_from():
    for path in HYPERPARAMETERS.glob("*.yml"):
        lines = path.read_text().splitlines()
        for i, line in enumerate(lines):
            if line and not line.startswith((" ", "#")):
                assert lines[i - 1].startswith("#"), line
