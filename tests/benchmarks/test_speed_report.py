import json
import os
from pathlib import Path

import pytest
import torch as th

from benchmarks.speed import __main__ as command
from benchmarks.speed.evaluation import exponent, memory_share, speedup
from benchmarks.speed.figures import draw
from benchmarks.speed.measurement import read
from benchmarks.speed.models import CONTRIB, OURS, PPO
from benchmarks.speed.rows import NAMES, ROWS, needed
from benchmarks.speed.shares import PARTS
from benchmarks.speed.table import report
from benchmarks.speed.whole_learn import RANDOM_ACTIONS

MIB = 2**20


def timings(*rates):
    return [{"wall_s": 1 / rate, "cpu_s": 1.0, "work": 1.0} for rate in rates]


def a_measurement():
    costs = [
        {"samples": n, "parameters": 10_000, "growth_bytes": n * 1000, "timings": timings(1e3 / n)}
        for n in (1024, 2048, 4096)
    ]
    spent = {part: 1.0 for part in PARTS}
    return {
        "sizes": {"name": "full", "rounds": 5},
        "threads": 1,
        "learning_runs_alive": 0,
        "versions": {"torch": "2", "sb3_trpo_commit": "0123456789"},
        "machine": {"cpu": "a processor", "cores": 2},
        "records": {
            "one_env": {"timings": {OURS: timings(6, 5, 4), CONTRIB: timings(1, 2, 3)}},
            "whole_update": {"error": "too large\nfor this machine"},
            "image_update": {
                "samples": 64,
                "samples_wanted": 128,
                "costs": {OURS: [{"growth_bytes": MIB}], CONTRIB: [{"growth_bytes": 8 * MIB}]},
            },
            "growth_with_batch": {"costs": {OURS: costs, CONTRIB: costs}},
            "shares": {"parts": {OURS: {"seconds": spent, "steps": 10}}},
        },
    }


# --- arithmetic ----------------------------------------------------------------------------------


def test_speedup_is_the_ratio_of_medians_and_its_spread_that_of_rounds():
    record = {"timings": {"a": timings(8, 4, 6), "b": timings(1, 4, 2)}}
    value = speedup(record, ours="a", theirs="b")
    assert (value.value, value.low, value.high) == pytest.approx((3, 1, 8))
    assert (value.ours, value.theirs) == ("6 steps/s", "2 steps/s")
    value = speedup({**record, "samples": 5}, ours="a", theirs="b")
    assert value.theirs == "500.0 ms"


def test_memory_is_compared_by_its_growth():
    costs = {"a": [{"growth_bytes": 3 * MIB}], "b": [{"growth_bytes": 12 * MIB}]}
    value = memory_share({"costs": costs}, ours="a", theirs="b")
    assert (value.value, value.ours, value.theirs) == (0.25, "3 MiB", "12 MiB")


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_fitted_exponent_is_that_of_the_growth(power):
    costs = [
        {
            "samples": n,
            "growth_bytes": MIB * n**power,
            "timings": timings(n**-power, 2 * n**-power, n**-power),
        }
        for n in (10, 100, 1000)
    ]
    for of in ("time", "memory"):
        value = exponent({"costs": {"a": costs}}, ours="a", over="samples", of=of)
        assert (value.value, value.low, value.high) == pytest.approx((power,) * 3)


def test_marks_are_bounds_from_the_right_side():
    by_name = {row.name: row for row in ROWS}
    assert by_name["learn-1"].is_met(3.0)
    assert not by_name["learn-1"].is_met(2.99)
    assert by_name["memory"].is_met(0.2)
    assert not by_name["memory"].is_met(0.21)
    assert by_name["share-1"].is_met(0.1) is None


# --- the report and the command -------------------------------------------------------------------


def test_pictures_are_drawn_from_the_json(tmp_path):
    (tmp_path / "r.json").write_text(json.dumps(a_measurement()))
    assert command.main(["--redraw", str(tmp_path / "r.json")]) == 0
    pictures = {path.name for path in tmp_path.iterdir()} - {"r.json", "table.md"}
    stems = ("where_a_second_goes", "cost_of_an_update")
    assert pictures == {f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")}
    assert all((tmp_path / name).stat().st_size > 1000 for name in pictures)
    assert (tmp_path / "table.md").read_text() == f"{report(a_measurement())}\n"


def test_nothing_is_drawn_that_was_not_measured(tmp_path):
    measurement = a_measurement()
    measurement["records"] = {"shares": {"error": "no"}}
    assert draw(measurement, tmp_path) == []


def test_the_table_says_what_is_met_and_what_failed():
    lines = report(a_measurement()).splitlines()
    rows = {line.split(" | ")[0].strip("| "): line for line in lines if line.startswith("| ")}
    assert "| 2.50 | 1.33 … 6.00 | ≥ 3 | NO |" in rows["learn-1"]
    assert "| 0.12 |" in rows["memory"]
    assert "≤ 0.2 | yes |" in rows["memory"]
    assert "| 1.00 | 1.00 … 1.00 | ≤ 1.1 | yes |" in rows["batch-time"]
    assert "too large" in rows["update"]
    assert "learn-ppo" not in rows
    assert "code of 0123456, torch 2 on a processor (2 cores)." in lines[0]
    assert "64 samples instead of 128" in lines[-1]


def test_the_committed_table_is_that_of_the_committed_results():
    measurement = read(command.RESULTS)
    assert command.RESULTS.with_name("table.md").read_text() == f"{report(measurement)}\n"
    assert measurement["sizes"]["name"] == "full"
    assert measurement["learning_runs_alive"] == 0


def test_settings_page_quotes_the_committed_measurement():
    page = " ".join((Path(__file__).parents[2] / "docs" / "settings.md").read_text().split())
    records = json.loads(command.RESULTS.read_text())["records"]
    figure = {row.name: row.evaluate(records[row.experiment]).value for row in ROWS}
    of_algorithm = speedup(records["whole_update"], ours=CONTRIB, theirs=PPO).value
    one, eight = figure["learn-1"], figure["learn-8"]
    for said in (
        f"trains {one:.1f} (one environment) and {eight:.1f} times (eight)",
        f"of which a factor of {of_algorithm:.1f} is the algorithm's",
        f"RecurrentTRPO trains {figure['learn-memory']:.1f} times as many steps per second",
        f"reach {figure['share-8']:.2f} of the pace of random actions",
        f"takes 1 / {figure['actor']:.2f} of sb3_contrib's time",
    ):
        assert said in page
    assert round(figure["update-ppo"]) == 10
    assert "takes a tenth of PPO's time" in page


def test_a_row_needs_its_contenders_alone():
    assert needed(["learn-ppo"]) == {"one_env": [OURS, PPO]}
    assert needed(["share-8", "learn-8"]) == {"eight_envs": [OURS, CONTRIB, RANDOM_ACTIONS]}
    assert needed(["learn-memory"]) == {"with_memory": ["recurrent_trpo", "recurrent_ppo"]}
    assert len(needed(NAMES)) == 12


@pytest.mark.slow
def test_the_command_measures_some_rows_for_real(tmp_path, capsys):
    out = tmp_path / "results.json"
    rows = "share-8,learn-masked,learn-memory,actor,update-ppo,memory"
    options = ["--sizes", "tiny", "--only", rows, "--noisy", "--out", str(out)]
    n_threads = th.get_num_threads()
    try:
        assert command.main(options) == 0
    finally:
        th.set_num_threads(n_threads)
    text = out.read_text()
    measured = json.loads(text)
    printed = capsys.readouterr().out
    assert all(f"| {name} |" in printed for name in rows.split(","))
    assert "TINY measurement" in printed
    records = measured["records"]
    assert {name: record for name, record in records.items() if "error" in record} == {}
    assert records["actor_step"]["products"] == {OURS: 15, CONTRIB: 15}
    assert all(len(of_one) == 2 for of_one in records["eight_envs"]["timings"].values())
    assert all(cost[0]["growth_bytes"] > MIB for cost in records["image_update"]["costs"].values())
    assert os.uname().nodename not in text
    assert str(command.Path.home()) not in text
    assert str(tmp_path) not in text


def test_unknown_rows_are_refused(capsys):
    with pytest.raises(SystemExit):
        command.main(["--only", "learn-9"])
    assert "learn-1" in capsys.readouterr().err
