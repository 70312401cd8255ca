"""The page in a real browser: complete, quiet, and nothing over anything else."""

import pytest

from sb3_trpo.report.making import make_report
from sb3_trpo.report.panels import PANELS
from tests.browser import CHROMIUM, DRIVER, MISSING, browser

pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING)

SIZES = [(390, False), (390, True), (1280, False), (1280, True)]
RECTANGLES = """
return [...document.querySelectorAll(arguments[0])].map(element => {
  const box = element.getBoundingClientRect();
  return [box.left + scrollX, box.top + scrollY, box.right + scrollX, box.bottom + scrollY,
          element.id || element.textContent.trim()];
});
"""
STYLE = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"


@pytest.fixture(scope="module")
def open_browser(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


def rectangles(page, selector):
    return page.run(RECTANGLES, selector)


def overlapping(boxes, tolerance=1.0):
    return [
        (a[4], b[4])
        for i, a in enumerate(boxes)
        for b in boxes[i + 1 :]
        if min(a[2], b[2]) - max(a[0], b[0]) > tolerance
        and min(a[3], b[3]) - max(a[1], b[1]) > tolerance
    ]


def outside(boxes, frame, tolerance=1.0):
    left, top, right, bottom = frame[:4]
    return [
        box[4]
        for box in boxes
        if box[0] < left - tolerance
        or box[1] < top - tolerance
        or box[2] > right + tolerance
        or box[3] > bottom + tolerance
    ]


@pytest.mark.parametrize(("width", "dark"), SIZES)
def test_page_opens_without_complaint_and_asks_for_nothing(open_browser, report, width, dark):
    open_browser.requests()
    open_browser.open(report.page, width=width, dark=dark)
    assert open_browser.complaints() == []
    assert set(open_browser.requests()) <= {report.page.resolve().as_uri(), "data:,"}
    assert open_browser.run("return performance.getEntriesByType('resource').length") == 0


@pytest.mark.parametrize(("width", "dark"), SIZES)
def test_panels_are_visible_and_nothing_overlaps_or_overflows(open_browser, report, width, dark):
    open_browser.open(report.page, width=width, dark=dark)
    assert open_browser.run("return document.documentElement.scrollWidth") <= width
    panels = rectangles(open_browser, "article")
    assert [panel[4] for panel in panels] == [p.id for p in PANELS if p.id != "skipped"]
    assert all(right - left > 250 and bottom - top > 250 for left, top, right, bottom, _ in panels)
    blocks = "header, section, article, footer"
    assert overlapping(rectangles(open_browser, blocks)) == []
    for panel in panels:
        (chart,) = rectangles(open_browser, f"#{panel[4]} figure > svg")
        assert chart[2] - chart[0] > 250
        assert chart[3] - chart[1] > 150
        assert outside([chart], panel) == []
        parts = rectangles(open_browser, f"#{panel[4]} > *")
        assert overlapping(parts) == []
        assert outside(parts, panel) == []


@pytest.mark.parametrize("width", [390, 1280])
def test_labels_of_a_chart_are_inside_it_and_apart(open_browser, report, width):
    open_browser.open(report.page, width=width)
    for panel in rectangles(open_browser, "article"):
        labels = rectangles(open_browser, f"#{panel[4]} figure text")
        assert len(labels) > 6
        assert overlapping(labels) == [], panel[4]
        (chart,) = rectangles(open_browser, f"#{panel[4]} figure > svg")
        assert outside(labels, chart, tolerance=2.0) == [], panel[4]


def test_letters_of_charts_are_large_enough_on_a_phone(open_browser, report):
    open_browser.open(report.page, width=390)
    labels = rectangles(open_browser, "figure text")
    heights = [min(bottom - top, right - left) for left, top, right, bottom, text in labels if text]
    assert max(heights) >= 11
    scale = open_browser.run(
        "const svg = document.querySelector('figure > svg');"
        "return svg.getBoundingClientRect().width / svg.viewBox.baseVal.width"
    )
    assert 9.0 * scale >= 9.0  # letters are 9 points in the chart


@pytest.mark.parametrize(
    ("dark", "paper"), [(False, "rgb(255, 255, 255)"), (True, "rgb(23, 27, 33)")]
)
def test_charts_take_the_colours_of_light_and_dark(open_browser, report, dark, paper):
    open_browser.open(report.page, width=1280, dark=dark)
    assert open_browser.run(STYLE, "article", "backgroundColor") == paper
    ink = open_browser.run(STYLE, "body", "color")
    assert open_browser.run(STYLE, "figure text", "fill") == ink
    assert ink != paper


def test_lines_of_runs_have_colours_of_their_own(open_browser, report):
    for dark in (False, True):
        open_browser.open(report.page, width=1280, dark=dark)
        strokes = {
            open_browser.run(STYLE, f"#return_steps figure .run-{number} path", "stroke")
            for number in range(5)
        }
        assert len(strokes) == 5


def test_unticking_a_run_hides_it_everywhere(open_browser, report):
    open_browser.open(report.page, width=1280)
    shown = (
        "return [...document.querySelectorAll('figure .run-0')]"
        ".filter(e => e.getBoundingClientRect().width > 0).length"
    )
    others = shown.replace("run-0", "run-1")
    before = open_browser.run(shown), open_browser.run(others)
    open_browser.driver.find_element("id", "show-0").click()
    assert (open_browser.run(shown), open_browser.run(others)) == (0, before[1])
    open_browser.driver.find_element("id", "show-0").click()
    assert open_browser.run(shown) == before[0] > 0


def test_charts_say_in_words_what_they_show(open_browser, report, runs):
    open_browser.open(report.page, width=1280)
    words = open_browser.run(
        "return [...document.querySelectorAll('figure > svg')]"
        ".map(e => e.getAttribute('role') + ' ' + e.getAttribute('aria-label'))"
    )
    assert len(words) == len(PANELS) - 1
    for said in words:
        assert said.startswith("img Chart: ")
        assert "at the end" in said
    assert all(name in words[0] for name in runs)


def test_ids_are_unique_and_references_lead_somewhere(open_browser, report):
    open_browser.open(report.page, width=1280)
    ids = open_browser.run("return [...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    targets = open_browser.run(
        "return [...document.querySelectorAll('a, use')].map(e => (e.getAttribute('href') ||"
        " e.getAttribute('xlink:href')).slice(1))"
    )
    assert targets
    assert set(targets) <= set(ids)


def test_names_that_look_like_html_stay_text(open_browser, runs, tmp_path):
    folder = tmp_path / "<img src=x onerror=alert(1)>"
    folder.mkdir()
    (folder / "progress.csv").write_bytes((runs["ppo"] / "progress.csv").read_bytes())
    made = make_report([folder], output=tmp_path / "out")
    open_browser.requests()
    open_browser.open(made.page, width=390)
    assert open_browser.complaints() == []
    assert open_browser.run("return document.images.length") == 0
    assert set(open_browser.requests()) <= {made.page.resolve().as_uri(), "data:,"}
    assert folder.name in open_browser.run(
        "return document.querySelector('#runs label').textContent"
    )


def test_seven_runs_with_long_names_stay_in_their_places(open_browser, runs, tmp_path):
    for number in range(7):
        folder = tmp_path / f"HalfCheetah-v5-with-a-long-name-of-the-experiment-{number}"
        folder.mkdir()
        for file in runs["trpo"].glob("progress.csv"):
            (folder / file.name).write_bytes(file.read_bytes())
    made = make_report([tmp_path], output=tmp_path / "out")
    for width in (390, 1280):
        open_browser.open(made.page, width=width)
        assert open_browser.run("return document.documentElement.scrollWidth") <= width
        assert overlapping(rectangles(open_browser, "header, section, article, footer")) == []
        assert overlapping(rectangles(open_browser, "#time figure text")) == []
