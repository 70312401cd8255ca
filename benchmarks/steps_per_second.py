"""
Steps per second and KL utilisation on HalfCheetah-v5, one environment, one thread.

Ours (both search rules) and sb3_contrib's TRPO with default settings take turns in one process.

    python benchmarks/steps_per_second.py --rounds 3 --updates 10
"""

import argparse
import json
import statistics
import time

import sb3_contrib
import torch as th
from stable_baselines3.common.callbacks import BaseCallback

from sb3_trpo import TRPO

CONTENDERS = {
    "sb3_trpo": (TRPO, {}),
    "sb3_trpo, match_kl=False": (TRPO, {"match_kl": False}),
    "sb3_contrib": (sb3_contrib.TRPO, {}),
}


class Utilisation(BaseCallback):
    """Note the KL utilisation of every update."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[float] = []

    def _on_rollout_start(self) -> None:
        value = self.logger.name_to_value.get("train/kl_utilization")
        if value is not None:
            self.values.append(value)

    def _on_step(self) -> bool:
        return True


def main() -> None:
    """Take turns, print medians as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=10)
    options = parser.parse_args()
    th.set_num_threads(1)
    speeds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    utilisation: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for seed in range(options.rounds):
        for name, (cls, kwargs) in CONTENDERS.items():
            model = cls("MlpPolicy", "HalfCheetah-v5", seed=seed, device="cpu", **kwargs)
            callback = Utilisation()
            started = time.perf_counter()
            model.learn(2048 * options.updates, callback=callback)
            speeds[name].append(2048 * options.updates / (time.perf_counter() - started))
            utilisation[name] += callback.values
    for name, values in speeds.items():
        row = {"steps_per_s": round(statistics.median(values)), "all": [round(v) for v in values]}
        if utilisation[name]:
            row["median_kl_utilization"] = round(statistics.median(utilisation[name]), 3)
        print(json.dumps({name: row}))


if __name__ == "__main__":
    main()
