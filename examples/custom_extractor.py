"""
Train on a Dict of an image and a vector, with a features extractor of one's own.

    python examples/custom_extractor.py --steps 4096
"""

import argparse

import torch as th
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import SimpleMultiObsEnv
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from sb3_trpo import TRPO


class ImageAndVector(BaseFeaturesExtractor):
    """A small convolution for the image; the vector joins its features."""

    def __init__(self, observation_space: spaces.Dict, n_features: int = 32) -> None:
        channels, *_ = observation_space["img"].shape
        n_numbers = observation_space["vec"].shape[0]
        super().__init__(observation_space, n_features + n_numbers)
        self.of_image = th.nn.Sequential(
            th.nn.Conv2d(channels, 8, kernel_size=8, stride=8),
            th.nn.ReLU(),
            th.nn.Flatten(),
            th.nn.LazyLinear(n_features),
            th.nn.Tanh(),
        )
        with th.no_grad():  # makes the lazy layer
            self.of_image(th.zeros(1, *observation_space["img"].shape))

    def forward(self, observations: dict[str, th.Tensor]) -> th.Tensor:
        """Return (n, features)."""
        return th.cat([self.of_image(observations["img"]), observations["vec"]], dim=1)


def main() -> None:
    """Train, and say how far the policy got."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--steps", type=int, default=20_000)
    options = parser.parse_args()

    env = make_vec_env(SimpleMultiObsEnv, n_envs=4, seed=0, env_kwargs={"random_start": False})
    model = TRPO(
        "MultiInputPolicy",
        env,
        n_steps=128,
        gamma=0.95,
        target_kl=0.02,
        policy_kwargs={"features_extractor_class": ImageAndVector},  # one each, actor and critic
        seed=0,
        verbose=1,
    )
    model.learn(options.steps)
    returns = [episode["r"] for episode in model.ep_info_buffer]
    print(f"mean return of the last {len(returns)} episodes: {sum(returns) / len(returns):.2f}")


if __name__ == "__main__":
    main()
