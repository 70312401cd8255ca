"""
Train, then write the policy for programs without SB3: by torch.export and as ONNX.

    python examples/export_policy.py --env Pendulum-v1 --steps 20000 --out exported
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch as th
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from sb3_trpo import TRPO
from sb3_trpo.distributions import unvalidated


class DeterministicActor(th.nn.Module):
    """
    From raw observations to the actions of ``model.predict(…, deterministic=True)``.

    Normalises as ``VecNormalize`` did at the end of training, where there is one; clips or rescales
    actions to their bounds. Observations are a tensor, or a dict of tensors, with a first dimension
    for the batch.

    :param model: trained; its policy has no memory
    """

    def __init__(self, model: OnPolicyAlgorithm) -> None:
        super().__init__()
        self.policy, self.action_space = model.policy, model.action_space
        self.normalize = model.get_vec_normalize_env()

    def forward(self, observations: Any) -> th.Tensor:
        """Return one action per row."""
        actions = self.policy.get_distribution(self._normalised(observations)).mode()
        if not isinstance(self.action_space, spaces.Box):
            return actions
        low, high = (th.as_tensor(x) for x in (self.action_space.low, self.action_space.high))
        if self.policy.squash_output:
            return low + 0.5 * (actions + 1) * (high - low)
        return th.clamp(actions, low, high)

    def _normalised(self, observations: Any) -> Any:
        normalize = self.normalize
        if normalize is None or not normalize.norm_obs:
            return observations
        if not isinstance(observations, dict):
            return self._by_statistics(observations, normalize.obs_rms)
        return {
            key: self._by_statistics(part, normalize.obs_rms[key])
            if key in normalize.norm_obs_keys
            else part
            for key, part in observations.items()
        }

    def _by_statistics(self, observations: th.Tensor, statistics: Any) -> th.Tensor:
        mean, scale = (
            th.as_tensor(x, dtype=th.float32)
            for x in (statistics.mean, np.sqrt(statistics.var + self.normalize.epsilon))
        )
        clip = self.normalize.clip_obs
        return th.clamp((observations.float() - mean) / scale, -clip, clip)


def exported(model: OnPolicyAlgorithm) -> th.export.ExportedProgram:
    """Export a model's policy for batches of any size."""
    model.policy.set_training_mode(False)
    space = model.observation_space
    parts = space.spaces if isinstance(space, spaces.Dict) else {"": space}
    samples = {key: th.as_tensor(np.stack([part.sample()] * 2)) for key, part in parts.items()}
    any_size = {0: th.export.Dim("batch")}
    is_dict = isinstance(space, spaces.Dict)
    # The checks of torch's distributions branch on values, which no exported graph can.
    with unvalidated():
        return th.export.export(
            DeterministicActor(model),
            (samples if is_dict else samples[""],),
            dynamic_shapes=(dict.fromkeys(samples, any_size) if is_dict else any_size,),
            strict=False,
        )


def write_onnx(program: th.export.ExportedProgram, path: Path) -> onnxruntime.InferenceSession:
    """Write a program as ONNX, and open it with ONNX Runtime."""
    th.onnx.export(program, f=path, dynamo=True, external_data=False, verbose=False)
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def main() -> None:
    """Train, export, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--env", default="Pendulum-v1")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=Path("exported"), help="folder")
    options = parser.parse_args()

    env = VecNormalize(make_vec_env(options.env, n_envs=4, seed=0))
    model = TRPO("MlpPolicy", env, n_steps=256, seed=0, device="cpu").learn(options.steps)
    options.out.mkdir(parents=True, exist_ok=True)
    program = exported(model)
    th.export.save(program, options.out / "policy.pt2")
    session = write_onnx(program, options.out / "policy.onnx")

    raw = np.stack([env.observation_space.sample() for _ in range(100)])
    expected, _ = model.predict(env.normalize_obs(raw), deterministic=True)
    loaded = th.export.load(options.out / "policy.pt2").module()
    by_torch = loaded(th.as_tensor(raw)).detach().numpy()
    (by_onnx,) = session.run(None, {session.get_inputs()[0].name: raw})
    print(f"torch.export differs by at most {np.abs(by_torch - expected).max():.1e}")
    print(f"ONNX differs by at most {np.abs(by_onnx - expected).max():.1e}")
    print(*sorted(options.out.iterdir()), sep="\n")


if __name__ == "__main__":
    main()
