"""What came of it: figures, the marks they must meet, and a table."""

import json
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.soak.faults import ALL_KINDS
from benchmarks.soak.vitals import growth

MOST_GROWTH = 0.05
_VITALS = ("rss", "anonymous", "descriptors")


def measured(out: Path) -> dict[str, Any]:
    """
    Count and compare.

    :param out: folder of a soak
    :return: every figure
    """
    runs = _lines(out / "runs.jsonl")
    events = [event for path in sorted(out.glob("*/events.jsonl")) for event in _lines(path)]
    count = Counter(event["event"] for event in events)
    outcomes = [event for event in events if event["event"] == "outcome"]
    return {
        "runs": Counter(run["kind"] for run in runs),
        "failed": [run for run in runs if "error" in run],
        "unsound": [event for event in outcomes if not event["is_sound"]],
        "faults": {
            kind: {
                "injected": sum(e["event"] == "fault" and e["kind"] == kind for e in events),
                "outcomes": Counter(e["outcome"] for e in outcomes if e["kind"] == kind),
            }
            for kind in ALL_KINDS
        },
        "processes killed": sum(event["outcome"] == "died" for event in outcomes),
        "resumed": count["resume"],
        "checkpoints written": count["written"],
        "updates": sum(run.get("updates", 0) for run in runs),
        "updates skipped": sum(run.get("skipped", 0) for run in runs),
        "processes": {path.stem: _life(path) for path in sorted(out.glob("vitals-*.jsonl"))},
        "scores": _scores(runs),
    }


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _life(path: Path) -> dict[str, Any]:
    samples = _lines(path)
    lived = samples[-1]["at"] - samples[0]["at"] if samples else 0.0
    return {
        "seconds": lived,
        "samples": len(samples),
        **{name: growth(samples, name) for name in _VITALS},
    }


def _scores(runs: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for task in sorted({run["task"] for run in runs}):
        found[task] = {}
        for kind in ("undisturbed", "faults", "kills"):
            scores = [r["score"] for r in runs if (r["task"], r["kind"]) == (task, kind) and "score" in r]
            if scores:
                spread = statistics.stdev(scores) if len(scores) > 1 else None
                found[task][kind] = {
                    "n": len(scores), "mean": statistics.mean(scores), "spread": spread
                }  # fmt: skip
    return found


def missed(found: dict[str, Any], *, with_scores: bool) -> list[str]:
    """
    Say which marks are missed.

    :param found: of :func:`measured`
    :param with_scores: whether the trainings were long enough to judge their returns
    :return: a sentence for each
    """
    said = [f"{len(found[name])} {name}" for name in ("failed", "unsound") if found[name]]
    for process, life in found["processes"].items():
        for name in ("rss", "descriptors"):
            if life[name] and life[name]["growth"] > MOST_GROWTH:
                said.append(f"{process}: {name} grew by {life[name]['growth']:.1%}")
    if not with_scores:
        return said
    for task, kinds in found["scores"].items():
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


def table(found: dict[str, Any]) -> str:
    """
    Write the figures down for people.

    :param found: of :func:`measured`
    :return: Markdown
    """
    rows = ["| fault | injected | what came of it |", "|---|---:|---|"]
    for kind, row in found["faults"].items():
        what = ", ".join(f"{n} × {outcome}" for outcome, n in sorted(row["outcomes"].items()))
        rows.append(f"| {kind} | {row['injected']} | {what} |")
    rows += ["", "| | |", "|---|---:|"]
    rows += [f"| trainings, {kind} | {n} |" for kind, n in found["runs"].items()]
    for name in ("processes killed", "resumed", "checkpoints written", "updates", "updates skipped"):
        rows.append(f"| {name} | {found[name]} |")
    rows += [f"| {name} | {len(found[name])} |" for name in ("failed", "unsound")]
    rows += ["", "| process | lived | figure | first | last | peak | growth |", "|---|---:|---|" + 4 * "---:|"]
    for process, life in found["processes"].items():
        for name in _VITALS:
            if life[name]:
                first, last, peak = (_shown(name, life[name][key]) for key in ("first", "last", "peak"))
                rows.append(
                    f"| {process} | {life['seconds'] / 60:.0f} min | {name} | {first} | {last} | "
                    f"{peak} | {life[name]['growth']:+.2%} |"
                )
    rows += ["", "| task | trainings | n | mean return | spread |", "|---|---|---:|---:|---:|"]
    for task, kinds in found["scores"].items():
        for kind, row in kinds.items():
            spread = "" if row["spread"] is None else f"{row['spread']:.1f}"
            rows.append(f"| {task} | {kind} | {row['n']} | {row['mean']:.1f} | {spread} |")
    return "\n".join(rows)


def _shown(name: str, value: float) -> str:
    return f"{value:.0f}" if name == "descriptors" else f"{value / 2**20:.1f} MiB"
