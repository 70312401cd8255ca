"""Small trainings whose rollouts end with episodes, to be interrupted and gone on with."""

import ctypes
import json
import signal
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

import sb3_trpo

LENGTH = 8
N_ENVS = 3
N_STEPS = 2 * LENGTH
PR_SET_PDEATHSIG = 1
TIMES = {"time/fps", "time/time_elapsed"}


class Walk(gym.Env):
    """
    A walk of eight steps, from a place and with a goal that are drawn.

    :param actions: "box" or "discrete"
    :param noise: what the steps draw from ``np_random``: "none", "floats" or "bits"
    """

    def __init__(self, actions: str = "box", noise: str = "none") -> None:
        self.observation_space = spaces.Box(-10.0, 10.0, (3,), np.float32)
        self.action_space = {
            "box": spaces.Box(-1.0, 1.0, (2,), np.float32),
            "discrete": spaces.Discrete(4),
        }[actions]
        self._noise = noise

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._place = self.np_random.normal(size=2) + self.np_random.integers(2, size=2)
        self._goal = self.np_random.uniform(-1, 1, 2)  # which no observation shows at first
        self._steps = 0
        return self._observation(), {}

    def _observation(self):
        return np.array([*self._place, self._steps], dtype=np.float32)

    def step(self, action):
        if isinstance(self.action_space, spaces.Discrete):
            action = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], dtype=float)[int(action)]
        self._place = self._place + 0.3 * np.asarray(action)
        if self._noise == "floats":
            self._place += 0.1 * self.np_random.normal(size=2)
        elif self._noise == "bits":
            self._place += 0.1 * self.np_random.integers(2, size=3)[:2]
        self._steps += 1
        reward = -float(np.sum((self._place - self._goal) ** 2))
        return self._observation(), reward, False, self._steps >= LENGTH, {}

    def action_masks(self):
        return np.array([True, self._place[0] > 0, True, self._place[1] > 0])


class Rows(KVWriter):
    """What is logged, less the times."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def write(self, key_values, key_excluded, step=0):
        row = {k: v for k, v in key_values.items() if k not in TIMES and not k.endswith("_s")}
        self.rows.append({"step": step, **row})

    def close(self):
        """Nothing to close."""


@dataclass(frozen=True)
class Case:
    """What to train."""

    name: str = "TRPO"
    actions: str = "box"
    noise: str = "none"
    is_normalised: bool = True
    has_workers: bool = False
    use_sde: bool = False
    correlation: float = 0.0

    def venv(self):
        if self.has_workers:
            make = partial(_made_in_worker, self.actions, self.noise)
            return SubprocVecEnv([make] * N_ENVS, start_method="fork")  # the others are slow
        return DummyVecEnv([partial(_made, self.actions, self.noise)] * N_ENVS)

    def env(self):
        return VecNormalize(self.venv()) if self.is_normalised else self.venv()

    def model(self, **kwargs):
        policy = "MlpLstmPolicy" if self.name == "RecurrentTRPO" else "MlpPolicy"
        sizes = {"lstm_hidden_size": 8} if self.name == "RecurrentTRPO" else {"net_arch": [8]}
        options = {"use_sde": True, "sde_sample_freq": 5} if self.use_sde else {}
        if self.correlation:
            options = {"noise_correlation": self.correlation}
        model = getattr(sb3_trpo, self.name)(
            policy,
            self.env(),
            n_steps=N_STEPS,
            batch_size=16,
            n_critic_updates=2,
            learning_rate=lambda progress: 1e-2 * progress,
            target_kl=lambda progress: 0.01 + 0.02 * progress,
            policy_kwargs=sizes,
            device="cpu",
            **{"seed": 3, "average_last": 0.7, **options, **kwargs},
        )
        return logging(model)[0]


def _made(actions, noise):
    return Monitor(Walk(actions, noise))


def _made_in_worker(actions, noise):
    # Forked workers hold each other's pipes: they would outlive a parent that is killed.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    return _made(actions, noise)


def logging(model):
    rows = Rows()
    model.set_logger(Logger(None, [rows]))
    return model, rows


def outcome(model):
    """All that a training has come to, to be compared bit for bit."""
    optimizer = model.policy.optimizer.state_dict()
    state = [x for one in optimizer["state"].values() for x in one.values()]
    normaliser = model.get_vec_normalize_env()
    return {
        "parameters": [p.detach().numpy().tobytes() for p in model.policy.parameters()],
        "optimizer": [th.as_tensor(x).numpy().tobytes() for x in state],
        "groups": repr([{**group, "params": None} for group in optimizer["param_groups"]]),
        "observations": np.asarray(model._last_obs).tobytes(),
        "counters": [model.num_timesteps, model._n_updates, model._n_skipped_updates],
        "progress": model._current_progress_remaining,
        "windows": repr([{**one, "t": 0} for one in model.ep_info_buffer]),
        "statistics": None
        if normaliser is None
        else [
            (r.mean.tobytes(), r.var.tobytes(), r.count)
            for r in (normaliser.obs_rms, normaliser.ret_rms)
        ],
        "returns": None if normaliser is None else normaliser.returns.tobytes(),
        "steps": model.env.get_attr("total_steps"),
        "torch": th.get_rng_state().numpy().tobytes(),
        "numpy": repr(np.random.get_state()),
        "envs": repr([g.bit_generator.state for g in model.env.get_attr("np_random")]),
    }


def as_text(rows):
    """Rows of a log, in a form that tells every bit."""
    return [json.dumps(row, default=repr, sort_keys=True) for row in rows]


CASES = {
    "trpo": Case(),
    "plain": Case(is_normalised=False),
    "discrete": Case(actions="discrete"),
    "workers": Case(has_workers=True),
    "sde": Case(use_sde=True),
    "correlated": Case(is_normalised=False, correlation=0.8),
    "sde_noise": Case(use_sde=True, noise="floats", has_workers=True),
    "bits": Case(noise="bits", is_normalised=False),
    "maskable": Case("MaskableTRPO", actions="discrete"),
    "maskable_workers": Case("MaskableTRPO", "discrete", "floats", False, True),
    "recurrent": Case("RecurrentTRPO"),
    "recurrent_plain": Case("RecurrentTRPO", "discrete", "bits", is_normalised=False),
    "recurrent_sde_workers": Case("RecurrentTRPO", use_sde=True, has_workers=True),
}
