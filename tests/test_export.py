"""What examples/export_policy.py writes acts as the model does."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import FakeImageEnv, IdentityEnv, SimpleMultiObsEnv
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_trpo import TRPO

example = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "export_policy.py"))


def image():
    return FakeImageEnv(screen_height=40, screen_width=40, n_channels=1, discrete=True)


def normalised_pendulum():
    return VecNormalize(make_vec_env("Pendulum-v1", n_envs=2, seed=0))


def normalised_dicts():
    env = make_vec_env(
        lambda: SimpleMultiObsEnv(random_start=False, discrete_actions=False), n_envs=2
    )
    return VecNormalize(env, norm_obs_keys=["vec"])


def of_space(space):
    return DummyVecEnv([lambda: IdentityEnv(space=space)])


SQUASHED = {"use_sde": True, "policy_kwargs": {"squash_output": True}}
CASES = {
    "gaussian, normalised": ("MlpPolicy", normalised_pendulum, {}),
    "squashed gSDE": ("MlpPolicy", lambda: "Pendulum-v1", SQUASHED),
    "discrete": ("MlpPolicy", lambda: "CartPole-v1", {}),
    "multi-discrete": ("MlpPolicy", lambda: of_space(spaces.MultiDiscrete([3, 4])), {}),
    "multi-binary": ("MlpPolicy", lambda: of_space(spaces.MultiBinary(3)), {}),
    "images": ("CnnPolicy", image, {}),
    "dicts, partly normalised": ("MultiInputPolicy", normalised_dicts, {}),
}


SLOW = {"squashed gSDE", "multi-discrete", "multi-binary", "images"}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow if case in SLOW else ()) for case in CASES]
)
def test_exported_policies_predict_what_the_model_does(case, tmp_path):
    policy, env, settings = CASES[case]
    model = TRPO(policy, env(), n_steps=32, n_critic_updates=1, seed=0, device="cpu", **settings)
    model.learn(64)
    program = example["exported"](model)
    session = example["write_onnx"](program, tmp_path / "policy.onnx")
    th.export.save(program, tmp_path / "policy.pt2")
    loaded = th.export.load(tmp_path / "policy.pt2").module()

    model.observation_space.seed(0)
    for n_rows in (1, 7):
        raw = [model.observation_space.sample() for _ in range(n_rows)]
        is_dict = isinstance(raw[0], dict)
        rows = {k: np.stack([r[k] for r in raw]) for k in raw[0]} if is_dict else np.stack(raw)
        normalize = model.get_vec_normalize_env()
        seen = rows if normalize is None else normalize.normalize_obs(rows)
        expected, _ = model.predict(seen, deterministic=True)

        tensors = {k: th.as_tensor(v) for k, v in rows.items()} if is_dict else th.as_tensor(rows)
        by_torch = loaded(tensors).detach().numpy()
        inputs = list(rows.values()) if is_dict else [rows]
        names = [node.name for node in session.get_inputs()]
        (by_onnx,) = session.run(None, dict(zip(names, inputs, strict=True)))
        np.testing.assert_allclose(by_torch.reshape(expected.shape), expected, atol=1e-5)
        np.testing.assert_allclose(by_onnx.reshape(expected.shape), expected, atol=1e-5)
