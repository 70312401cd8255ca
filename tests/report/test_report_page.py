"""The page and the pictures: figures equal to the logs', nothing that asks or runs."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sb3_trpo.report.__main__ import main
from sb3_trpo.report.charts import Drawing
from sb3_trpo.report.making import make_report
from sb3_trpo.report.page import page
from sb3_trpo.report.panels import PANELS
from sb3_trpo.report.runs import read_runs

NONE = "\N{EN DASH}"
OF_ALL = {"return_steps", "return_time", "explained_variance", "entropy", "time"}
OF_TRPO = OF_ALL | {"kl", "kl_utilization", "cg", "improvement"}


class Reader(HTMLParser):
    """Collects the rows of tables, the panels, and everything that could load or run."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.panels, self.suspicious, self.tags = [], [], [], set()
        self.in_cell = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        attrs = dict(attrs)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
            self.in_cell = True
        elif tag == "article":
            self.panels.append(attrs["id"])
        if any(name.startswith("on") for name in attrs):
            self.suspicious.append((tag, attrs))
        for name in ("src", "href", "xlink:href", "action", "data"):
            if not (attrs.get(name) or "#").startswith(("#", "data:")):
                self.suspicious.append((tag, attrs))

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.in_cell = False

    def handle_data(self, data):
        if self.in_cell:
            self.rows[-1][-1] += data.strip()

    def values(self, run, quantity):
        """Rows, last, median, lowest, highest."""
        return next([float(c) for c in row[2:]] for row in self.rows if row[:2] == [run, quantity])


@pytest.fixture(scope="module")
def reader(report):
    return Reader(report.page.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("run", "quantity", "key", "sign"),
    [
        ("trpo", "return", "rollout/ep_rew_mean", 1),
        ("trpo", "realised KL / δ", "train/kl_utilization", 1),
        ("trpo", "residual", "train/cg_residual", 1),
        ("trpo", "iterations", "train/cg_iterations", 1),
        ("trpo", "actual / expected", "train/improvement_ratio", 1),
        ("trpo", "entropy, nats", "train/entropy", 1),
        ("pendulum", "std of actions", "train/std", 1),
        ("ppo", "KL, nats", "train/approx_kl", 1),
        ("ppo", "entropy, nats", "train/entropy_loss", -1),
        ("ppo", "explained variance", "train/explained_variance", 1),
        ("contrib", "KL, nats", "train/kl_divergence_loss", 1),
        ("contrib", "steps / second", "time/fps", 1),
    ],
)
def test_values_in_the_page_are_those_of_the_log(reader, runs, run, quantity, key, sign):
    logged = sign * pd.read_csv(runs[run] / "progress.csv")[key].dropna()
    expected = [len(logged), logged.iloc[-1], logged.median(), logged.min(), logged.max()]
    np.testing.assert_allclose(reader.values(run, quantity), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "panels"),
    [
        ("trpo", OF_TRPO),
        ("pendulum", OF_TRPO),
        ("ppo", OF_ALL | {"kl"}),
        ("a2c", OF_ALL),
        ("contrib", OF_ALL | {"kl", "kl_utilization"}),
    ],
)
def test_panels_are_those_that_an_algorithm_logs(runs, name, panels):
    text = page(Drawing(read_runs([runs[name]])), "")
    assert set(Reader(text).panels) == panels
    for panel in PANELS:
        absent = panel.id not in panels and panel.id != "skipped"
        assert (panel.title in text.partition("Not in these logs:")[2]) == absent


def test_panels_come_with_what_to_look_at(reader, report):
    text = report.page.read_text(encoding="utf-8")
    assert set(reader.panels) == OF_TRPO
    assert text.count("What to look at") == len(reader.panels)
    for words in ("δ is never reached", "the search fails", "the critic is not fitting"):
        assert words in re.sub(r"\s+", " ", text), words


def test_table_of_hyperparameters_shows_where_runs_differ(reader):
    table = {row[0]: row[1:] for row in reader.rows if row[0] in ("n_critic_updates", "algorithm")}
    assert table["n_critic_updates"] == ["10", NONE, NONE, "2", "2"]
    shared = [row for row in reader.rows if row[0] == "cg_max_steps"]
    assert len(shared) == 1  # in the table of all alone


def test_page_asks_for_nothing_and_runs_nothing(reader, report):
    assert reader.suspicious == []
    assert not reader.tags & {"script", "iframe", "object", "embed", "form", "img", "base"}
    text = report.page.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r"@import|url\((?!#)", text)


def test_names_and_values_are_text_and_nothing_else(runs, tmp_path):
    evil = "<img src=x onerror=alert(1)> \"' & $x^{ _"
    folder = tmp_path / evil
    folder.mkdir()
    content = (runs["trpo"] / "progress.csv").read_text()
    (folder / "progress.csv").write_text(content)
    (folder / "config.yml").write_text("'<script>alert(2)</script>': '</style><b>bold</b>'\n")
    other = tmp_path / "other"
    other.mkdir()
    (other / "progress.csv").write_text(content)
    (other / "config.yml").write_text("'<script>alert(2)</script>': 'plain'\n")
    made = make_report([folder, other], output=tmp_path / "out", title="<i>{{ 7*7 }}</i>")
    text = made.page.read_text(encoding="utf-8")
    read = Reader(text)
    assert read.suspicious == []
    assert not read.tags & {"script", "img", "i"}
    assert any(row[:1] == [evil] for row in read.rows)
    assert ["<script>alert(2)</script>", "</style><b>bold</b>", "plain"] in read.rows
    assert "&lt;i&gt;{{ 7*7 }}&lt;/i&gt;" in text


def test_strange_names_are_written_and_drawn(runs, tmp_path):
    for name in ("_hidden", "层 δ", "a\nb\x01", "x" * 200):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "progress.csv").write_bytes((runs["ppo"] / "progress.csv").read_bytes())
    made = make_report([tmp_path], output=tmp_path / "out")
    text = made.page.read_text(encoding="utf-8")
    assert "\x01" not in text
    assert "层 δ" in text
    assert len(made.pictures) == len(OF_ALL) + 1


def test_pictures_are_png_files_of_a_readable_size(report):
    assert len(report.pictures) == len(OF_TRPO)
    for picture in report.pictures:
        with Image.open(picture) as image:
            assert image.format == "PNG"
            assert image.width >= 600
            assert len(image.convert("RGB").getcolors(1 << 20)) > 10


def test_same_logs_make_the_same_page(runs, report):
    again = page(Drawing(read_runs(list(runs.values()))), "5 runs")
    assert again == report.page.read_text(encoding="utf-8")


def test_page_stays_light(report):
    assert report.page.stat().st_size < 500_000


def test_output_may_be_a_page_or_a_folder(runs, tmp_path):
    named = make_report([runs["a2c"]], output=tmp_path / "deep" / "mine.html")
    assert named.page == tmp_path / "deep" / "mine.html"
    assert named.pictures[0].parent == tmp_path / "deep" / "mine-png"
    assert make_report([runs["a2c"]], output=tmp_path).page == tmp_path / "report.html"


def test_pictures_of_an_earlier_report_do_not_stay(runs, tmp_path):
    (tmp_path / "report-png").mkdir()
    (tmp_path / "report-png" / "kl.png").write_bytes(b"old")
    make_report([runs["a2c"]], output=tmp_path)
    assert {path.stem for path in (tmp_path / "report-png").iterdir()} == OF_ALL


def test_command_line_makes_the_report(runs, tmp_path, capsys):
    output = tmp_path / "r.html"
    options = ["--title", "Mine", "--smooth", "2", "-o", str(output)]
    assert main([str(runs["ppo"]), *options]) == 0
    assert "<h1>Mine</h1>" in output.read_text(encoding="utf-8")
    assert str(output) in capsys.readouterr().out


def test_command_line_says_what_is_missing_and_exits_with_two(tmp_path):
    command = [sys.executable, "-m", "sb3_trpo.report", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path.cwd())
    assert done.returncode == 2
    assert f"{tmp_path} holds no logs; looked for progress.csv, TensorBoard event" in done.stderr
    assert "Traceback" not in done.stderr


def test_command_line_says_where_nothing_can_be_written(runs, tmp_path, capsys):
    page = tmp_path / f"{'x' * 300}.html"
    assert main([str(runs["ppo"]), "-o", str(page)]) == 2
    assert "File name too long" in capsys.readouterr().err


def test_package_does_not_import_the_report_and_a_missing_extra_is_named():
    code = (
        "import sys, sb3_trpo\n"
        "assert not [m for m in sys.modules if m.startswith('sb3_trpo.report')]\n"
        "sys.modules['jinja2'] = None\n"
        "import sb3_trpo.report\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: sb3_trpo.report: " in done.stderr
    assert 'pip install ".[report]" in a clone of sb3_trpo' in done.stderr
