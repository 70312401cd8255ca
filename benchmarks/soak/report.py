"""What came of it: every figure, and a table of them."""

import json
import statistics
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.soak.kinds import ALL_KINDS
from benchmarks.soak.supervisor import KINDS
from benchmarks.soak.vitals import VITALS, growth

_COUNTED = (
    "faults injected",
    "processes killed",
    "kills in trainings that came to their end",
    "resumed from a checkpoint",
    "checkpoints written",
    "updates",
    "updates skipped",
)


def measured(out: Path) -> dict[str, Any]:
    """
    Count and compare.

    :param out: folder of a soak, whether it is through or not
    :return: every figure
    """
    runs = _lines(out / "runs.jsonl")
    by_training = [_lines(path) for path in sorted(out.glob("*/events.jsonl"))]
    events = [event for of_one in by_training for event in of_one]
    outcomes = [event for event in events if event["event"] == "outcome"]
    count = Counter(event["event"] for event in events)
    finished = [of_one for of_one in by_training if any(e["event"] == "end" for e in of_one)]
    return {
        "minutes": sum(run["seconds"] for run in runs) / 60,
        "trainings": dict(Counter(run["kind"] for run in runs)),
        "failed": [_without_traceback(run) for run in runs if "error" in run],
        "unsound": [event for event in outcomes if not event["is_sound"]],
        "faults": {kind: _fault(kind, events) for kind in ALL_KINDS},
        "faults injected": count["fault"],
        "processes killed": _n_killed(events),
        "kills in trainings that came to their end": sum(map(_n_killed, finished)),
        "resumed from a checkpoint": count["resume"],
        "checkpoints written": count["written"],
        "updates": sum(run.get("updates", 0) for run in runs),
        "updates skipped": sum(run.get("skipped", 0) for run in runs),
        "processes": {path.stem: _life(path) for path in sorted(out.glob("vitals-*.jsonl"))},
        "scores": {task: _scores(runs, task) for task in sorted({run["task"] for run in runs})},
    }


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _without_traceback(run: dict[str, Any]) -> dict[str, Any]:
    """Leave out what names folders of this machine; it stays in the folder of the soak."""
    return {name: value for name, value in run.items() if name != "traceback"}


def _fault(kind: str, events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    of_kind = [event for event in events if event.get("kind") == kind]
    outcomes = Counter(event["outcome"] for event in of_kind if event["event"] == "outcome")
    injected = sum(event["event"] == "fault" for event in of_kind)
    return {"injected": injected, "outcomes": dict(sorted(outcomes.items()))}


def _n_killed(events: Iterable[dict[str, Any]]) -> int:
    return sum(event["event"] == "outcome" and event["outcome"] == "died" for event in events)


def _life(path: Path) -> dict[str, Any]:
    samples = _lines(path)
    lived = samples[-1]["at"] - samples[0]["at"] if samples else 0.0
    figures = {name: growth(samples, name) for name in VITALS}
    return {"minutes": lived / 60, "samples": len(samples), **figures}


def _scores(runs: list[dict[str, Any]], task: str) -> dict[str, Any]:
    found = {}
    for kind in KINDS:
        of_kind = [run for run in runs if (run["task"], run["kind"]) == (task, kind)]
        scores = [run["score"] for run in of_kind if "score" in run]
        if scores:
            spread = statistics.stdev(scores) if len(scores) > 1 else None
            found[kind] = {"mean": statistics.mean(scores), "spread": spread, "scores": scores}
    return found


def table(found: dict[str, Any]) -> str:
    """
    Write the figures down for people.

    :param found: of :func:`measured`
    :return: Markdown
    """
    parts = (_faults_rows(found), _counts_rows(found), _processes_rows(found), _scores_rows(found))
    return "\n\n".join("\n".join(rows) for rows in parts)


def _faults_rows(found: dict[str, Any]) -> list[str]:
    rows = ["| fault | injected | what came of it |", "|---|---:|---|"]
    for kind, row in found["faults"].items():
        what = ", ".join(f"{n} × {outcome}" for outcome, n in row["outcomes"].items())
        rows.append(f"| {kind} | {row['injected']} | {what} |")
    return rows


def _counts_rows(found: dict[str, Any]) -> list[str]:
    rows = ["| | |", "|---|---:|", f"| minutes | {found['minutes']:.0f} |"]
    rows += [f"| trainings, {kind} | {n} |" for kind, n in found["trainings"].items()]
    rows += [f"| {name} | {found[name]:,} |" for name in _COUNTED]
    return rows + [f"| {name} | {len(found[name])} |" for name in ("failed", "unsound")]


def _processes_rows(found: dict[str, Any]) -> list[str]:
    rows = ["| process | lived | figure | first | last | peak | growth |"]
    rows += ["|---|---:|---|---:|---:|---:|---:|"]
    for process, life in found["processes"].items():
        for name in VITALS:
            if life[name]:
                ends = [_shown(name, life[name][key]) for key in ("first", "last", "peak")]
                grown = f"{life[name]['growth']:+.2%}"
                lived = f"{life['minutes']:.0f} min"
                rows.append(f"| {' | '.join([process, lived, name, *ends, grown])} |")
    return rows


def _shown(name: str, value: float) -> str:
    return f"{value:.0f}" if name == "descriptors" else f"{value / 2**20:.1f} MiB"


def _scores_rows(found: dict[str, Any]) -> list[str]:
    rows = [
        "| task | trainings | n | mean return | spread | least |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for task, kinds in found["scores"].items():
        for kind, row in kinds.items():
            spread = "" if row["spread"] is None else f"{row['spread']:.1f}"
            rows.append(
                f"| {task} | {kind} | {len(row['scores'])} | {row['mean']:.1f} | {spread} | "
                f"{min(row['scores']):.1f} |"
            )
    return rows
