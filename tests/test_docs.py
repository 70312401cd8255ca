"""What README.md and docs/ show runs as it stands, and what they name is there."""

import importlib
import os
import re
import runpy
import subprocess
import sys
from contextlib import suppress
from operator import attrgetter
from pathlib import Path
from unittest import SkipTest

import pytest
from markdown_it import MarkdownIt
from sybil import Sybil
from sybil.parsers.myst import CodeBlockParser, PythonCodeBlockParser, SkipParser

from tests.commands import output_of

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path
    for path in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").rglob("*.md")),
    ]
    if "_build" not in path.parts
}
SLOW = {"README.md", "docs/quickstart.md", "docs/howto/environments.md", "docs/howto/masks.md"}
SHOWN = {"text", "yaml"}  # no code


def shell(example):
    """Run a block of commands as a user types them, with this Python first in the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(["bash", "-e", "-c", example.parsed], env=environment, check=True)


def examples_of(page):
    parsers = [PythonCodeBlockParser(), CodeBlockParser("sh", shell), SkipParser()]
    return list(Sybil(parsers=parsers).parse(PAGES[page]).examples())


def blocks_of(page):
    """Code blocks as Markdown has them: (language, line) of each; "" where they are indented."""
    tokens = MarkdownIt("commonmark").parse(PAGES[page].read_text())
    blocks = [token for token in tokens if token.type in ("fence", "code_block")]
    return [(block.info.split(" ")[0], block.map[0] + 1) for block in blocks]


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=pytest.mark.slow if page in SLOW else ()) for page in PAGES]
)
def test_snippets_run_as_written(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for example in examples_of(page):
        example.namespace["ROOT"] = ROOT
        with suppress(SkipTest):
            example.evaluate()


@pytest.mark.parametrize("page", PAGES)
def test_every_snippet_is_executed_or_shows_no_code(page):
    executed = {example.line for example in examples_of(page)}
    for language, line in blocks_of(page):
        is_directive = language.startswith("{")
        assert is_directive or language in SHOWN or line in executed, (page, line, language)


@pytest.mark.parametrize("page", PAGES)
def test_what_is_skipped_has_a_reason(page):
    skips = re.findall(r"<!--- skip: (.*)", PAGES[page].read_text())
    for skip in skips:
        assert re.fullmatch(r'next ".{10,}" -->', skip), (page, skip)


@pytest.mark.parametrize("page", PAGES)
def test_linked_sources_exist(page):
    for module, name in re.findall(r"\{src\}`([\w.]+):([\w.]+)`", PAGES[page].read_text()):
        attrgetter(name)(importlib.import_module(module))


def test_the_algorithm_links_to_its_sources():
    links = re.findall(r"\{src\}`", PAGES["docs/algorithm.md"].read_text())
    assert len(links) > 15


def test_the_api_has_every_public_name():
    pages = "".join(path.read_text() for path in (ROOT / "docs" / "api").glob("*.md"))
    for module in ("sb3_trpo", "sb3_trpo.optim", "sb3_trpo.distributions", "sb3_trpo.report"):
        for name in importlib.import_module(module).__all__:
            assert re.search(rf"\b{name}\b", pages), f"{module}.{name}"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("html")
    output_of("-m", "sphinx", "-W", "--keep-going", "-q", ROOT / "docs", out, cwd=ROOT)
    return out


@pytest.mark.slow
def test_pages_are_built_without_warnings_and_lead_somewhere(built):
    output_of(ROOT / "docs" / "check_links.py", built, cwd=ROOT)
    assert "<math" in (built / "algorithm.html").read_text()


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="b.html#there">', ""),
        ('<a href="https://example.org">', ""),
        ('<a href="c.html">', "no such file"),
        ('<a href="b.html#elsewhere">', "no such place"),
        ('<a href="#elsewhere">', "no such place"),
        ('<img src="b.png">', "no such file"),
        ('<script src="https://example.org/x.js"></script>', "loaded from elsewhere"),
    ],
)
def test_the_check_of_links_finds_what_is_wrong(body, fault, tmp_path):
    (tmp_path / "a.html").write_text(f"<html><body>{body}</body></html>")
    (tmp_path / "b.html").write_text('<html><body id="there"></body></html>')
    check = runpy.run_path(str(ROOT / "docs" / "check_links.py"))
    found = list(check["faults"](tmp_path))
    assert len(found) == bool(fault)
    assert fault in "".join(found)
