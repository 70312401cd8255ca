"""
Plot the training return of finished runs of ``train.py`` over steps, one line a run.

    python examples/plot_runs.py runs/HalfCheetah-v5-seed* --out halfcheetah.png
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def main() -> None:
    """Read the newest TensorBoard log of each run and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), constrained_layout=True)
    panels = (
        ("rollout/ep_rew_mean", "return (mean of 100 episodes)"),
        ("train/kl_utilization", "realised KL / target_kl"),
    )
    for run in options.runs:
        logs = list(run.glob("tensorboard/TRPO_*"))
        if not logs:
            parser.error(f"{run} holds no tensorboard/TRPO_*, as train.py leaves it")
        log = EventAccumulator(str(max(logs, key=lambda folder: folder.stat().st_mtime)))
        log.Reload()
        for axis, (key, label) in zip(axes, panels, strict=True):
            events = log.Scalars(key)
            axis.plot([e.step for e in events], [e.value for e in events], lw=1, label=run.name)
            axis.set(xlabel="timesteps", ylabel=label)
            axis.grid(alpha=0.3)
    axes[1].set_ylim(0, 1.05)
    axes[0].legend(fontsize="small")
    figure.savefig(options.out, dpi=110)
    print(options.out)


if __name__ == "__main__":
    main()
