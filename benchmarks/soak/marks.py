"""What the figures must be."""

from typing import Any

from benchmarks.soak.vitals import VITALS

MOST_GROWTH = 0.05
"""Of memory and of open files, after the warm-up.

Of resident memory, and of that part of it which is no file's: the kernel may drop the rest at any
time, and what grows would be hidden."""


def missed(found: dict[str, Any], *, with_scores: bool) -> list[str]:
    """
    Say which marks are missed.

    :param found: of :func:`~benchmarks.soak.report.measured`
    :param with_scores: whether the trainings were long enough to judge their returns
    :return: a sentence for each
    """
    said = [f"{len(found[name])} {name}" for name in ("failed", "unsound") if found[name]]
    for process, life in found["processes"].items():
        for name in VITALS:
            if life[name] and life[name]["growth"] > MOST_GROWTH:
                said.append(f"{process}: {name} grew by {life[name]['growth']:.1%}")
    return said + (_too_low(found["scores"]) if with_scores else [])


def _too_low(scores: dict[str, Any]) -> list[str]:
    said = []
    for task, kinds in scores.items():
        control = kinds.get("undisturbed")
        for kind in ("faults", "kills"):
            if not control or control["spread"] is None or kind not in kinds:
                said.append(f"{task}, {kind}: too few trainings to compare")
            elif kinds[kind]["mean"] < control["mean"] - control["spread"]:
                said.append(
                    f"{task}, {kind}: return {kinds[kind]['mean']:.1f} against "
                    f"{control['mean']:.1f} ± {control['spread']:.1f}"
                )
    return said
