"""The charts: lines through the logs' figures, axes that do not mislead."""

import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from sb3_trpo.report.charts import Drawing, thinned
from sb3_trpo.report.page import page
from sb3_trpo.report.panels import PANELS
from sb3_trpo.report.runs import read_runs
from sb3_trpo.report.theme import FIXED


def panel_of(name):
    return next(panel for panel in PANELS if panel.id == name)


def test_lines_are_drawn_through_the_figures_of_the_log(runs):
    (run,) = read_runs([runs["trpo"]])
    logged = pd.read_csv(runs["trpo"] / "progress.csv", float_precision="round_trip")
    for panel, key in (
        ("explained_variance", "train/explained_variance"),
        ("kl", "train/approx_kl"),
    ):
        figure = Drawing([run]).figure(panel_of(panel), FIXED)
        axes = figure.subfigs[0].axes[0]
        drawn = [line.get_xydata() for line in axes.get_lines() if line.get_ls() == "-"]
        expected = logged[["time/total_timesteps", key]].dropna()
        assert any(np.array_equal(line, expected) for line in drawn if len(line) == len(expected))


@pytest.mark.parametrize("highest", [1.0, 1.2, 1.3, 1.34, 1.35, 1.4])
def test_label_of_an_axis_is_not_pushed_off_the_chart_by_its_ticks(log_rows, highest):
    """At 1.34 ticks that fit the final axis were wider than those it was laid out for."""
    ratios = [0.88, highest, 0.97]
    (run,) = read_runs([log_rows([{"train/improvement_ratio": ratio} for ratio in ratios])])
    text = page(Drawing([run]), "")
    (x,) = re.findall(r'x="([\d.-]+)"[^>]*>actual / expected</text>', text)
    assert float(x) >= 9.0 * 0.75  # the baseline of letters of 9 points, turned upright


@pytest.mark.parametrize(
    ("panel", "keys"),
    [
        ("kl", {"train/kl_divergence_loss": 0.038, "train/target_kl": 0.04}),
        ("kl_utilization", {"train/kl_utilization": 0.95}),
        ("time", {"time/fps": 1000.0}),
    ],
)
def test_axes_of_shares_and_rates_begin_at_zero(log_rows, panel, keys):
    (run,) = read_runs([log_rows([keys] * 6)])
    low, high = Drawing([run]).figure(panel_of(panel), FIXED).subfigs[-1].axes[0].get_ylim()
    assert -0.1 * high < low <= 0


@pytest.mark.parametrize(("outcomes", "said"), [([1, 1, 1], False), ([1, 0, 1], True)])
def test_crosses_stand_at_the_rejected_updates_and_are_explained(log_rows, outcomes, said):
    rows = [
        {"train/kl_divergence_loss": 0.01 * taken, "train/is_line_search_success": taken}
        for taken in outcomes
    ]
    drawing = Drawing(read_runs([log_rows(rows)]))
    axes = drawing.figure(panel_of("kl"), FIXED).subfigs[0].axes[0]
    crosses = [
        step for line in axes.get_lines() if line.get_marker() == "x" for step in line.get_xdata()
    ]
    assert crosses == [1024 * (i + 1) for i, taken in enumerate(outcomes) if not taken]
    assert ("Crosses at the bottom" in page(drawing, "")) is said


def test_parts_of_the_time_that_nobody_logs_have_no_key(log_rows):
    parts = ("time/rollout_s", "time/policy_step_s", "time/critic_step_s")
    (run,) = read_runs([log_rows([{**dict.fromkeys(parts, 0.1), "time/fps": 100.0}] * 6)])
    axes = Drawing([run]).figure(panel_of("time"), FIXED).subfigs[0].axes[0]
    shown = [text.get_text() for text in axes.get_legend().get_texts()]
    assert shown == ["rollout", "policy", "critic"]


def test_return_over_time_has_the_seconds_of_the_log(runs, tmp_path):
    rows = pd.read_csv(runs["trpo"] / "progress.csv")
    rows["time/time_elapsed"] = np.arange(len(rows)) * 7.0
    rows.to_csv(tmp_path / "progress.csv", index=False)
    (run,) = read_runs([tmp_path])
    panel = panel_of("return_time")
    series = panel.charts[0].curve(run)
    np.testing.assert_allclose(series.steps, np.arange(len(rows)) * 7.0)
    np.testing.assert_allclose(series.values, rows["rollout/ep_rew_mean"])


def test_every_run_has_an_entry_in_the_legend_of_a_picture(runs, tmp_path, monkeypatch):
    folder = tmp_path / "_hidden"
    folder.mkdir()
    (folder / "progress.csv").write_bytes((runs["ppo"] / "progress.csv").read_bytes())
    entries = []
    legend = Figure.legend

    def noting(figure, *args, **kwargs):
        made = legend(figure, *args, **kwargs)
        entries.extend(text.get_text() for text in made.get_texts())
        return made

    monkeypatch.setattr(Figure, "legend", noting)
    drawing = Drawing(read_runs([folder, runs["a2c"]]))
    drawing.png(panel_of("entropy"))
    assert entries == ["_hidden", "a2c"]


def test_smoothing_averages_the_line_and_keeps_the_raw_one(runs):
    (run,) = read_runs([runs["trpo"]])
    panel = panel_of("explained_variance")
    axes = Drawing([run], smooth=3).figure(panel, FIXED).subfigs[0].axes[0]
    raw, smooth = (line.get_ydata() for line in axes.get_lines() if len(line.get_ydata()) > 2)
    logged = pd.read_csv(runs["trpo"] / "progress.csv")["train/explained_variance"].dropna()
    np.testing.assert_allclose(raw, logged)
    np.testing.assert_allclose(smooth, logged.rolling(3, min_periods=1).mean())


def test_long_lines_keep_their_peaks():
    values = np.random.default_rng(0).normal(size=50_000)
    values[31_234], values[777] = 100.0, -100.0
    steps, kept = thinned(np.arange(50_000.0), values)
    assert len(kept) <= 600
    assert (kept.max(), kept.min()) == (100.0, -100.0)
    assert (np.diff(steps) > 0).all()
    np.testing.assert_array_equal(kept, values[steps.astype(int)])
