"""
What a checkpoint costs on HalfCheetah-v5 with four environments, as `make train` has them.

    python -m benchmarks.checkpoint
"""

import statistics
import tempfile
import time
from pathlib import Path

import torch as th
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from sb3_trpo import TRPO
from sb3_trpo.checkpoint import TrainingCheckpoint, resume

N_UPDATES = 20


class Timed(TrainingCheckpoint):
    """Notes how long each checkpoint takes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(1, folder, keep=N_UPDATES)
        self.seconds: list[float] = []

    def _write(self) -> None:
        started = time.perf_counter()
        super()._write()
        self.seconds.append(time.perf_counter() - started)


def main() -> None:
    """Train, write after every update, resume from each, and print the medians."""
    th.set_num_threads(1)

    def env() -> VecNormalize:
        return VecNormalize(make_vec_env("HalfCheetah-v5", n_envs=4, seed=0))

    with tempfile.TemporaryDirectory(dir=".") as folder:
        saving = Timed(Path(folder))
        model = TRPO("MlpPolicy", env(), n_steps=512, seed=0, device="cpu")
        started = time.perf_counter()
        model.learn(N_UPDATES * 2048, callback=saving)
        whole = time.perf_counter() - started
        written, resumed = sorted(Path(folder).iterdir()), []
        for path in written:
            fresh = env()
            started = time.perf_counter()
            resume(path, fresh, device="cpu")
            resumed.append(time.perf_counter() - started)
        sizes = {file.name: file.stat().st_size for file in written[-1].iterdir()}
    print(f"bytes:   {sum(sizes.values()):,} ({', '.join(f'{k} {v:,}' for k, v in sizes.items())})")
    print(f"writing: {statistics.median(saving.seconds):.3f} s, median of {N_UPDATES}")
    print(f"resume:  {statistics.median(resumed):.3f} s")
    print(f"an update with its rollout: {(whole - sum(saving.seconds)) / N_UPDATES:.3f} s")


if __name__ == "__main__":
    main()
