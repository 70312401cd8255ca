"""The sweep over single settings."""

import json
from dataclasses import replace

import pytest

from benchmarks.settings import __main__ as command
from benchmarks.settings import sweep
from benchmarks.settings.figures import draw
from benchmarks.settings.table import table

TINY = replace(
    sweep.BASE,
    environment="Pendulum-v1",
    steps=400,
    n_envs=2,
    settings={**sweep.BASE.settings, "n_steps": 100, "target_kl": 0.03},
)


@pytest.fixture(scope="module")
def rows():
    cells = [sweep.Cell({}, 200), sweep.Cell({"target_kl": 0.1}, 200)]
    return [sweep.row_of(cell, TINY) for cell in cells]


def test_every_setting_is_swept_alone_and_the_base_is_run_once_per_seed():
    cells = list(sweep.cells())
    n_levels = sum(len(levels) - 1 for levels in sweep.LEVELS.values())
    assert len(cells) == len(sweep.SEEDS) * (1 + n_levels)
    assert all(len(cell.changes) <= 1 for cell in cells)
    assert {cell.seed for cell in cells[: 1 + n_levels]} == {sweep.SEEDS[0]}
    for name, levels in sweep.LEVELS.items():
        assert sweep.BASE.settings[name] in levels


def test_a_run_is_made_with_the_changed_setting(rows):
    base, wider = rows
    assert base["n_updates"] == wider["n_updates"] == 2
    assert base["changes"] == {}
    assert wider["changes"] == {"target_kl": 0.1}
    assert base["final_return"] != wider["final_return"]
    assert base["means"]["kl_utilization"] > 0.8


def test_runs_are_kept_and_not_made_again(rows, tmp_path, monkeypatch, capsys):
    made = [sweep.Cell(row["changes"], row["seed"]) for row in rows]
    monkeypatch.setattr(command, "cells", lambda: made)
    monkeypatch.delattr(command, "row_of")  # whoever made a run again would miss it
    command.write(tmp_path / "results.json", rows)
    assert command.main(["--out", str(tmp_path)]) == 0
    assert command.read(tmp_path / "results.json") == json.loads(json.dumps(rows))
    assert "target_kl.png" in capsys.readouterr().out


def test_runs_of_another_base_are_refused(tmp_path):
    (tmp_path / "results.json").write_text('{"base": {}, "runs": []}')
    with pytest.raises(ValueError, match="another base"):
        command.read(tmp_path / "results.json")


def test_nothing_to_draw_is_said(tmp_path, capsys):
    assert command.main(["--redraw", "--out", str(tmp_path)]) == 2
    assert "holds no runs" in capsys.readouterr().err


def test_the_table_has_mean_and_spread_over_seeds(rows):
    other = {**rows[0], "seed": 201, "final_return": rows[0]["final_return"] + 100}
    lines = table([*rows, other]).splitlines()
    (base,) = (line for line in lines if "`target_kl=0.03`" in line)
    mean = f"{rows[0]['final_return'] + 50:.0f} ± 71 (2)".replace("-", "−")
    assert mean in base.replace("\u00a0", " ")
    assert sum("`target_kl=" in line for line in lines) == 2


def test_there_is_a_picture_per_setting(rows, tmp_path):
    files = draw(rows, tmp_path)
    assert [file.stem for file in files] == list(sweep.LEVELS)
    assert all(file.stat().st_size > 5_000 for file in files)
