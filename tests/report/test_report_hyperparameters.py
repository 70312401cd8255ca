"""Hyperparameters are read from where they lie, and nothing is unpickled or evaluated."""

import base64
import json
import os
import pickle
import zipfile
from collections import OrderedDict

import pytest
import yaml
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import HParam

import sb3_trpo
from sb3_trpo.report import hyperparameters
from sb3_trpo.report.runs import read_runs


def with_log(folder):
    folder.mkdir(exist_ok=True)
    (folder / "progress.csv").write_text("time/total_timesteps,time/fps\n64,100\n")
    return folder


def read(folder):
    (run,) = read_runs([folder])
    return run


def model_file(folder, attributes):
    with zipfile.ZipFile(folder / "model.zip", "w") as archive:
        archive.writestr("data", json.dumps(attributes))


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_those_of_a_saved_model_are_its_attributes(tmp_path):
    agent = sb3_trpo.TRPO(
        "MlpPolicy",
        "CartPole-v1",
        n_steps=64,
        batch_size=32,
        target_kl=0.03,
        gamma=0.97,
        seed=5,
        learning_rate=lambda progress: 1e-3 * progress,
        policy_kwargs={"net_arch": [8, 8], "log_std_init": -0.5},
    )
    agent.save(with_log(tmp_path) / "model.zip")
    found = read(tmp_path).hyperparameters
    assert found["algorithm"] == "TRPO"
    names = ["n_steps", "batch_size", "target_kl", "gamma", "seed", "n_envs", "match_kl"]
    for name in (*names, "actor_batch_size"):
        assert found[name] == str(getattr(agent, name)), name
    assert found["policy_kwargs.net_arch"] == "[8, 8]"
    assert found["policy_kwargs.log_std_init"] == "-0.5"
    assert found["learning_rate"] == "function (unread)"
    assert not {"policy_class", "observation_space", "_last_obs", "lr_schedule"} & set(found)


def test_algorithm_is_told_by_attributes_else_by_the_log(runs):
    found = {run.name: run.algorithm for run in read_runs(list(runs.values()))}
    assert found == {
        "trpo": "TRPO",
        "pendulum": "TRPO",
        "contrib": "TRPO (sb3_contrib)",
        "ppo": "PPO",
        "a2c": "A2C",
    }


def test_nothing_in_a_model_is_unpickled(tmp_path):
    trap = base64.b64encode(pickle.dumps(Malicious(tmp_path / "sprung"))).decode()
    attributes = {
        "gamma": 0.9,
        "target_kl": {":type:": "<class 'function'>", ":serialized:": trap},
        "policy_kwargs": {":type:": "<class 'dict'>", ":serialized:": trap, "ortho_init": False},
    }
    model_file(with_log(tmp_path), attributes)
    found = read(tmp_path).hyperparameters
    assert not (tmp_path / "sprung").exists()
    assert found["gamma"] == "0.9"
    assert found["target_kl"] == "function (unread)"
    assert found["policy_kwargs.ortho_init"] == "False"
    pickle.loads(base64.b64decode(trap))  # the trap does work
    assert (tmp_path / "sprung").exists()


def test_nothing_in_a_yaml_file_is_run(tmp_path):
    trap = f"!!python/object/apply:os.mkdir ['{tmp_path / 'sprung'}']"
    (with_log(tmp_path) / "config.yml").write_text(f"gamma: 0.9\nn_steps: {trap}\n")
    found = read(tmp_path).hyperparameters
    assert not (tmp_path / "sprung").exists()
    assert found["gamma"] == "0.9"
    assert found["n_steps"] == "os.mkdir (unread)"


@pytest.mark.parametrize("circle", ["a: &a [*a]", "a: &a {b: *a}", "&a {a: *a}"])
def test_yaml_that_leads_round_in_a_circle_is_noted(tmp_path, circle):
    (with_log(tmp_path) / "config.yml").write_text(circle)
    run = read(tmp_path)
    assert not run.hyperparameters
    assert run.notes == ("config.yml: cannot be read (ValueError)",)


def test_settings_as_rl_zoo3_writes_them(tmp_path):
    folder = with_log(tmp_path) / "CartPole-v1"
    folder.mkdir()
    config = OrderedDict(gamma=0.98, learning_rate="lin_2e-3", n_envs=8, policy="MlpPolicy")
    (folder / "config.yml").write_text(yaml.dump(config))
    arguments = OrderedDict(algo="trpo", env="CartPole-v1", seed=7, verbose=1, track=False)
    (folder / "args.yml").write_text(yaml.dump(arguments))
    run = read(tmp_path)
    assert run.hyperparameters == {
        "algorithm": "trpo",
        "environment": "CartPole-v1",
        "gamma": "0.98",
        "learning_rate": "lin_2e-3",
        "n_envs": "8",
        "policy": "MlpPolicy",
        "seed": "7",
    }
    assert run.environment == "CartPole-v1"
    schedule = {":type:": "<class 'function'>", ":serialized:": "x"}
    model_file(tmp_path, {"gamma": 0.5, "learning_rate": schedule, "match_kl": True})
    found = read(tmp_path).hyperparameters
    assert (found["gamma"], found["learning_rate"]) == ("0.5", "lin_2e-3")
    assert found["algorithm"] == "TRPO"


def test_those_that_a_callback_records_for_tensorboard(tmp_path):
    class Record(BaseCallback):
        def _on_training_start(self):
            values = {"algorithm": "TRPO", "gamma": 0.9, "n": 3}
            self.logger.record("hparams", HParam(values, {"rollout/ep_rew_mean": 0.0}))

        def _on_step(self):
            return True

    agent = sb3_trpo.TRPO(
        "MlpPolicy", "CartPole-v1", n_steps=64, batch_size=64, tensorboard_log=str(tmp_path)
    )
    agent.learn(128, Record())
    found = read(tmp_path).hyperparameters
    assert found == {"algorithm": "TRPO", "gamma": "0.9", "n": "3"}


@pytest.mark.parametrize("content", [b"no zip", b""])
def test_unreadable_model_is_noted(tmp_path, content):
    (with_log(tmp_path) / "model.zip").write_bytes(content)
    run = read(tmp_path)
    assert run.hyperparameters == {}
    assert any("model.zip" in note for note in run.notes)


def test_model_whose_attributes_unpack_to_too_much_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(hyperparameters, "LARGEST_HEADER", 1000)
    model_file(with_log(tmp_path), {"gamma": 0.9, "filler": "x" * 1000})
    run = read(tmp_path)
    assert run.hyperparameters == {}
    assert any("larger than any" in note for note in run.notes)


def test_newest_readable_model_counts(tmp_path):
    with_log(tmp_path)
    for age, (name, gamma) in enumerate([("broken", None), ("new", 0.9), ("old", 0.5)]):
        file = tmp_path / f"{name}.zip"
        if gamma is None:
            file.write_bytes(b"?")
        else:
            model_file(tmp_path, {"gamma": gamma})
            (tmp_path / "model.zip").rename(file)
        os.utime(file, (1e9 - age, 1e9 - age))
    assert read(tmp_path).hyperparameters["gamma"] == "0.9"


def test_schedules_of_sb3_are_said_by_their_numbers():
    inner = {":type:": "<class 'stable_baselines3.common.utils.FloatSchedule'>"}
    constant = {**inner, "value_schedule": "ConstantSchedule(val=0.2)"}
    assert hyperparameters.in_words(constant) == "0.2"
    linear = {**inner, "value_schedule": "LinearSchedule(start=0.1, end=0.0, end_fraction=1.0)"}
    assert hyperparameters.in_words(linear).startswith("LinearSchedule(start=0.1")
    address = {"value_schedule": "<function <lambda> at 0x7f7a>", ":type:": "<class 'x'>"}
    assert hyperparameters.in_words(address) == "<function <lambda>>"
