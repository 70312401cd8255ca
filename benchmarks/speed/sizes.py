"""How much is measured: in earnest, in a hurry, or just to see that it works."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """
    How often, and on how much, each row is measured.

    :param name: said in the report
    :param rounds: timings per contender; memory is measured once
    :param n_steps: of a rollout with one environment
    :param n_steps_of_eight: of a rollout with eight environments, each
    :param learn_rollouts: rollouts in one timed ``learn()``
    :param actor_samples: of the actor step at HalfCheetah's sizes, and of the whole update
    :param wide_samples: of the actor step at Humanoid's sizes
    :param image_samples: of the update on images, if the machine's memory has room for sb3_contrib
    :param image_chunk: our ``actor_batch_size`` there
    :param batch_sizes: of the updates whose growth with the batch is fitted
    :param batch_contenders: who goes through ``batch_sizes``
    :param parameters: counts, of the networks whose growth is fitted
    :param parameter_samples: of the updates of those networks
    :param gpu_samples: of the actor step on a GPU
    :param growth_repeats: timings per point of the growth
    """

    name: str
    rounds: int
    n_steps: int
    n_steps_of_eight: int
    learn_rollouts: int
    actor_samples: int
    wide_samples: int
    image_samples: int
    image_chunk: int
    batch_sizes: tuple[int, ...]
    batch_contenders: tuple[str, ...]
    parameters: tuple[int, ...]
    parameter_samples: int
    gpu_samples: tuple[int, ...]
    growth_repeats: int


FULL = Sizes(
    name="full",
    rounds=5,
    n_steps=2048,
    n_steps_of_eight=2048,
    learn_rollouts=4,
    actor_samples=2048,
    wide_samples=16_384,
    image_samples=16_384,
    image_chunk=256,
    batch_sizes=(2048, 8192, 32_768, 65_536),
    batch_contenders=("trpo", "contrib_trpo", "ppo"),
    parameters=(10_000, 100_000, 1_000_000, 10_000_000),
    parameter_samples=2048,
    gpu_samples=(2048, 16_384, 131_072),
    growth_repeats=3,
)
QUICK = Sizes(
    name="quick",
    rounds=2,
    n_steps=2048,
    n_steps_of_eight=256,
    learn_rollouts=1,
    actor_samples=2048,
    wide_samples=2048,
    image_samples=512,
    image_chunk=64,
    batch_sizes=(2048, 8192),
    batch_contenders=("trpo", "contrib_trpo"),
    parameters=(10_000, 100_000, 1_000_000),
    parameter_samples=512,
    gpu_samples=(2048, 16_384),
    growth_repeats=1,
)
TINY = Sizes(
    name="tiny",
    rounds=2,
    n_steps=128,
    n_steps_of_eight=16,
    learn_rollouts=1,
    actor_samples=128,
    wide_samples=128,
    image_samples=64,
    image_chunk=16,
    batch_sizes=(128, 256),
    batch_contenders=("trpo",),
    parameters=(10_000, 20_000),
    parameter_samples=128,
    gpu_samples=(128,),
    growth_repeats=1,
)
SIZES = {sizes.name: sizes for sizes in (FULL, QUICK, TINY)}
