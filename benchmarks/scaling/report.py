"""The measurement as tables."""

from typing import Any

import numpy as np

from benchmarks.scaling.cost_model import efficiency, fitted, over_ethernet

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
    lines = ["| ranks | steps/s | in messages | all-reduces per update | bytes |", "|---" * 5 + "|"]
    lines += [
        f"| {row['ranks']} | {row['steps_per_s']:,.0f} | {row['share_in_messages']:.1%} "
        f"| {row['messages_per_update']:.0f} | {row['bytes_per_update']:,.0f} |"
        for row in measurement["ranks"]
    ]
    return "\n".join(lines)


def _model(measurement: dict[str, Any]) -> str:
    rows = measurement["messages"]
    local = fitted([row["bytes"] for row in rows], [row["seconds"] for row in rows])
    network = over_ethernet(local)
    alone, together = measurement["ranks"][0], measurement["ranks"][-1]
    lines = [
        f"Between two ranks here: {local.latency_s * 1e6:.0f} µs and "
        f"{local.bytes_per_s / 1e9:.2f} GB/s; over 10 Gb Ethernet taken to be "
        f"{network.latency_s * 1e6:.0f} µs and {network.bytes_per_s / 1e9:.2f} GB/s.",
        "",
        "| ranks | each keeps of its speed | as fast as one, times |",
        "|---|---|---|",
    ]
    for ranks in RANKS:
        kept = efficiency(
            network,
            ranks,
            s_per_update=alone["s_per_update"],
            messages=together["messages_per_update"],
            n_bytes=together["bytes_per_update"],
        )
        lines.append(f"| {ranks} | {kept:.1%} | {ranks * kept:,.0f} |")
    return "\n".join(lines)
