"""Wrong arguments of environments, checkpoints, reports and processes."""

import functools
import tempfile
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

from sb3_trpo import TRPO, MaskableTRPO
from sb3_trpo.checkpoint import TrainingCheckpoint, learn_rest, newest_checkpoint, resume
from sb3_trpo.distributed import processes
from sb3_trpo.envs import EnvPoolVecEnv
from tests.bad_arguments import NO_BOOL, NO_COUNT, Table
from tests.bad_arguments_algorithms import NO_DEVICE, NO_ENV

NO_FOLDER = [3, None, "", b"here", ["here"]]
NO_INDICES = [2, -1, "x", 0.5, [0, 2], [None]]


@functools.cache
def folder():
    """Remain until the process ends: the folder of a run with a checkpoint and a log."""
    kept = tempfile.TemporaryDirectory()
    path = Path(kept.name)
    model = TRPO("MlpPolicy", "Pendulum-v1", n_steps=16, batch_size=16, device="cpu", seed=0)
    model.learn(16, callback=TrainingCheckpoint(16, path / "checkpoints"))
    (path / "progress.csv").write_text("time/total_timesteps,train/kl\n16,0.01\n32,0.02\n")
    return kept, path


def place(name=""):
    return folder()[1] / name


def resumed():
    return resume(place("checkpoints"), gym.make("Pendulum-v1"), device="cpu")


def pool(**changes):
    pytest.importorskip("envpool", reason="EnvPool has no wheel here")
    return EnvPoolVecEnv, {"task": "CartPole-v1", "num_envs": 2, **changes}


@functools.cache
def envs():
    make, arguments = pool()
    made = make(**arguments)
    made.reset()
    return made


def report():
    making = pytest.importorskip("sb3_trpo.report")
    return making.make_report, {"folders": [place()], "output": place("report")}


TABLES = [
    Table(
        "sb3_trpo.envs.EnvPoolVecEnv",
        pool,
        {
            "task": [3, None, "NoSuchTask-v0", ["CartPole-v1"]],
            "num_envs": [*NO_COUNT, 2**31],
            "seed": [-1, 1.5, None, 2**31],
            "num_threads": [-1, 1.5, None],
            "env_kwargs": [3, "x", {"nope": 1}],
        },
    ),
    Table(
        "sb3_trpo.envs.EnvPoolVecEnv.step_async",
        lambda: (envs().step_async, {"actions": np.zeros(2, int)}),
        {"actions": [3, None, "x", np.zeros(3), np.zeros((2, 1)), [[1], [1, 0]]]},
    ),
    Table(
        "sb3_trpo.envs.EnvPoolVecEnv.get_attr",
        lambda: (envs().get_attr, {"attr_name": "render_mode"}),
        {"indices": NO_INDICES},
        {"attr_name": "an AttributeError that names the attribute, as SB3 and hasattr() want it"},
    ),
    Table(
        "sb3_trpo.envs.EnvPoolVecEnv.env_is_wrapped",
        lambda: (envs().env_is_wrapped, {"wrapper_class": gym.Wrapper}),
        {"wrapper_class": [3, None, "Monitor"], "indices": NO_INDICES},
    ),
    Table(
        "sb3_trpo.checkpoint.TrainingCheckpoint",
        lambda: (TrainingCheckpoint, {"save_freq": 1, "path": "here"}),
        {
            "save_freq": NO_COUNT,
            "path": NO_FOLDER,
            "keep": NO_COUNT,
            "verbose": [-1, "loud", None],
        },
    ),
    Table(
        "sb3_trpo.checkpoint.newest_checkpoint",
        lambda: (newest_checkpoint, {"path": place("checkpoints")}),
        {"path": NO_FOLDER},
    ),
    Table(
        "sb3_trpo.checkpoint.resume",
        lambda: (resume, {"path": place("checkpoints"), "env": gym.make("Pendulum-v1")}),
        {
            "path": [*NO_FOLDER, Path("nowhere")],
            "env": [
                *(*NO_ENV, None, "Pendulum-v1", gym.make("CartPole-v1")),
                make_vec_env("Pendulum-v1", n_envs=2),
            ],
            "model_class": ["TRPO", PPO, MaskableTRPO, 3],
            "device": NO_DEVICE,
            "custom_objects": [3, "x", {1: 2}],
            "distributed": [*NO_BOOL, True],
        },
    ),
    Table(
        "sb3_trpo.checkpoint.learn_rest",
        lambda: (learn_rest, {"model": resumed()}),
        {
            "model": [3, None, TRPO],
            "callback": [3, "x", [lambda *_: True], BaseCallback],
            "progress_bar": NO_BOOL,
        },
    ),
    Table(
        "sb3_trpo.report.make_report",
        report,
        {
            "folders": ["runs", [], 3, None, [3], [place("nowhere")]],
            "output": [3, None, "", place("progress.csv") / "page.html"],
            "title": [3, None, ["x"]],
            "smooth": NO_COUNT,
        },
    ),
    Table(
        "sb3_trpo.distributed.processes",
        lambda: (processes, {"distributed": False}),
        {"distributed": [*NO_BOOL, True]},
    ),
]
