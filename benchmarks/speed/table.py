"""The table, as text."""

from statistics import median

from benchmarks.speed.evaluation import Record
from benchmarks.speed.measurement import Measurement
from benchmarks.speed.models import CONTRIB, OURS
from benchmarks.speed.rows import ROWS, Row

HEADER = ("row", "what", "ours", "against", "figure", "min … max", "mark", "met")
LOOKS = {True: "yes", False: "NO", None: ""}


def report(measurement: Measurement) -> str:
    """
    Return the rows that were measured, and how.

    :param measurement: as read from its file
    :return: Markdown
    """
    records = measurement["records"]
    lines = [_line(row, records[row.experiment]) for row in ROWS if _is_measured(row, records)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in (HEADER, ["---"] * len(HEADER), *lines))
    return "\n\n".join([_circumstances(measurement), table, *_notes(records), *_gpu(records)])


def _is_measured(row: Row, records: dict[str, Record]) -> bool:
    record = records.get(row.experiment)
    if record is None:
        return False
    measured = record.get("timings", record.get("costs", {}))
    return "error" in record or all(name in measured for name in row.contenders)


def _line(row: Row, record: Record) -> list[str]:
    if "error" in record:
        return [row.name, row.what, *[""] * 3, record["error"].splitlines()[0], "", "NO"]
    value = row.evaluate(record)
    sign = "≤" if row.at_most else "≥"
    mark = "" if row.mark is None else f"{sign} {row.mark:g}"
    aim = "" if row.aim is None else f" (aim {row.aim:g})"
    spread = f"{value.low:.2f} … {value.high:.2f}"
    met = LOOKS[row.is_met(value.value)]
    figure = f"{value.value:.2f}"
    return [row.name, row.what, value.ours, value.theirs, figure, spread, mark + aim, met]


def _circumstances(measurement: Measurement) -> str:
    sizes, versions, machine = (measurement[key] for key in ("sizes", "versions", "machine"))
    quick = "" if sizes["name"] == "full" else f" {sizes['name'].upper()} measurement: smaller"
    quick += " sizes and fewer rounds, no result to quote." if quick else ""
    alive = measurement["learning_runs_alive"]
    noisy = f" NOISY: {alive} learning processes ran beside it." if alive else ""
    commit = (versions["sb3_trpo_commit"] or "unknown")[:7]
    return (
        f"Medians of {sizes['rounds']} rounds, contenders in turn, {measurement['threads']} thread;"
        f" code of {commit}, torch {versions['torch']} on {machine['cpu']}"
        f" ({machine['cores']} cores).{quick}{noisy}"
    )


def _notes(records: dict[str, Record]) -> list[str]:
    images = records.get("image_update", {})
    if images.get("samples", 0) == images.get("samples_wanted", 0):
        return []
    return [
        f"The update on images was measured with {images['samples']:,} samples instead of "
        f"{images['samples_wanted']:,}: the machine's memory has no room for sb3_contrib's."
    ]


def _gpu(records: dict[str, Record]) -> list[str]:
    record = records.get("gpu", {})
    if "timings" not in record:
        return [f"GPU: {record['error']}"] if "error" in record else []
    lines = [f"Actor step on {record['gpu']}:"]
    for samples, timings in record["timings"].items():
        ours, theirs = (
            1e3 * median(timing["wall_s"] for timing in timings[name]) for name in (OURS, CONTRIB)
        )
        lines.append(
            f"- {int(samples):,} samples: {ours:.1f} ms, sb3_contrib {theirs:.1f} ms, "
            f"{theirs / ours:.2f} ×"
        )
    return ["\n".join(lines)]
