"""The measurement as tables."""

from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.scaling.cost_model import Link, Update, efficiency, fitted, over_ethernet

RANKS = (2, 8, 64, 1024)


def report(measurement: dict[str, Any]) -> str:
    """
    Write the measurement down.

    :param measurement: as ``__main__`` makes it
    :return: Markdown
    """
    parts = [_environments(measurement), _contrib(measurement), _ranks(measurement)]
    return "\n\n".join([*parts, _model(measurement)])


def _median(rates: list[float]) -> float:
    return float(np.median(rates))


def _environments(measurement: dict[str, Any]) -> str:
    rows = {(row["kind"], row["n_envs"]): row for row in measurement["environments"]}
    kinds = list(dict.fromkeys(kind for kind, _ in rows))
    lines = [
        "Steps per second of `learn()` (of random actions):",
        "",
        "| environments | " + " | ".join(kinds) + " |",
        "|---|" + "---|" * len(kinds),
    ]
    for n_envs in dict.fromkeys(number for _, number in rows):
        cells = [
            f"{_median(row['learn']):,.0f} ({_median(row['step']):,.0f})"
            if (row := rows.get((kind, n_envs)))
            else "-"
            for kind in kinds
        ]
        lines.append(f"| {n_envs} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _contrib(measurement: dict[str, Any]) -> str:
    (ours, fast), (peer, slow) = measurement["contrib"].items()
    ratios = np.array(fast) / np.array(slow)
    return (
        f"{ours}: {_median(fast):,.0f} steps/s; {peer}: {_median(slow):,.0f}; "
        f"{np.median(ratios):.2f} × ({ratios.min():.2f} to {ratios.max():.2f})"
    )


def _ranks(measurement: dict[str, Any]) -> str:
    names = "task | minibatch per rank | ranks | steps/s | in messages"
    lines = [f"| {names} | all-reduces per update | bytes |", "|---" * 7 + "|"]
    lines += [
        f"| {row['task']} | {row['batch_size']} | {row['ranks']} | {row['steps_per_s']:,.0f} "
        f"| {row['share_in_messages']:.1%} "
        f"| {row['messages_per_update']:.0f} | {row['bytes_per_update']:,.0f} |"
        for row in measurement["ranks"]
    ]
    return "\n".join(lines)


def _model(measurement: dict[str, Any]) -> str:
    rows = measurement["messages"]
    local = fitted([row["bytes"] for row in rows], [row["seconds"] for row in rows])
    alone, together = (
        next(row for row in measurement["ranks"] if row["ranks"] == ranks) for ranks in (1, 2)
    )
    busy = replace(local, latency_s=_latency_in_learn(measurement["ranks"]))
    links = [over_ethernet(link) for link in (busy, local)]
    update = Update(
        seconds=alone["s_per_update"],
        samples=alone["steps_per_s"] * alone["s_per_update"],
        messages=together["messages_per_update"],
        n_bytes=together["bytes_per_update"],
        gathers=2 * 2,  # two exchanges of objects: first their sizes, then themselves
        epochs=10,
        dealing_s=measurement["dealing_s"],
    )
    lines = [
        f"Between two ranks here: {local.latency_s * 1e6:.0f} µs a message where nothing else is "
        f"done, {busy.latency_s * 1e6:.0f} µs within learn(), and "
        f"{local.bytes_per_s / 1e9:.2f} GB/s (the fit is off by a factor of up to "
        f"{_worst_ratio(rows, local):.1f}); over 10 Gb Ethernet taken to be "
        f"{links[1].latency_s * 1e6:.0f} to {links[0].latency_s * 1e6:.0f} µs and "
        f"{links[1].bytes_per_s / 1e9:.2f} GB/s.",
        "",
        f"Shuffling: {update.dealing_s * 1e9:.0f} ns per sample of all ranks and epoch.",
        "",
        f"Times as fast as one rank, {update.samples:,.0f} samples of each per update, "
        f"{update.messages:.0f} all-reduces, {update.gathers} gathers:",
        "",
        "| ranks | as here | 1 ms more per step | 10 ms more per step |",
        "|---|---|---|---|",
    ]
    for ranks in RANKS:
        cells = []
        for slower_s in (0, 1e-3, 1e-2):
            slower = replace(update, seconds=update.seconds + update.samples * slower_s)
            low, high = sorted(ranks * efficiency(link, ranks, slower) for link in links)
            cells.append(f"{low:,.1f} to {high:,.1f}")
        lines.append(f"| {ranks} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _worst_ratio(rows: list[dict[str, float]], link: Link) -> float:
    ratios = [link.all_reduce_s(row["bytes"], 2) / row["seconds"] for row in rows]
    return max(max(ratio, 1 / ratio) for ratio in ratios)


def _latency_in_learn(rows: list[dict[str, Any]]) -> float:
    """Latency of a message from runs of two ranks with many messages and with few."""
    many, few, *_ = [row for row in rows if row["ranks"] == 2]
    seconds = [row["share_in_messages"] * row["s_per_update"] for row in (many, few)]
    messages = [row["messages_per_update"] for row in (many, few)]
    # Each passes two messages; what both runs wait at the rollout's end drops out.
    return (seconds[0] - seconds[1]) / (messages[0] - messages[1]) / 2
