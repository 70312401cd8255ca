"""A short run of tests/fuzz.py; `make fuzz` is the long one."""

import os
from collections import Counter

import pytest

import tests.fuzz
from sb3_trpo.safe_loading import builder
from tests.fuzz import Figures, Fuzz, load
from tests.fuzz_strategies import DANGEROUS, base_files


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory):
    assert [load(content) for content in base_files()] == ["loaded"] * len(base_files())
    return Fuzz(tmp_path_factory.mktemp("fuzz"))


def test_nothing_but_a_refusal_comes_of_changed_files(fuzz, record_property):
    fuzz.run(number=0, n_files=350)
    kinds = {kind for kind, _ in fuzz.figures.outcomes}
    record_property("mutated files", fuzz.figures.n_files)
    assert fuzz.figures.n_files >= 300
    assert len(kinds) == 11


@pytest.mark.parametrize("leaves", ["a file", "an event"])
def test_it_would_be_noticed_if_a_file_ran_something(leaves, tmp_path, monkeypatch):
    """With a builder that calls what is named, as pickle does, where all names are harmless."""
    fuzz = Fuzz(tmp_path)

    def ran(*_):
        if leaves == "a file":
            fuzz.watch.is_on = False
            fuzz.canary.touch()
        else:
            os.system(":")

    def call(self, call):
        function, arguments = self.build(call.function), self.build(call.arguments)
        return function(*arguments)

    monkeypatch.setattr(builder.Builder, "_called", call)
    monkeypatch.setattr(builder, "listed", lambda name: ran if name in DANGEROUS else dict)
    with pytest.raises(AssertionError, match="run by a file"):
        fuzz.run(number=1, n_files=60, only="objects")


def test_anything_but_a_value_error_is_a_fault_and_its_file_is_kept(tmp_path, monkeypatch):
    fuzz = Fuzz(tmp_path)
    monkeypatch.setattr(tests.fuzz, "load", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fuzz.run(number=1, n_files=3, only="JSON")
    assert fuzz.path.read_bytes()
    assert fuzz.figures.n_files == 0


def test_figures_are_read_as_they_were_written(tmp_path):
    figures = Figures(Counter({("JSON", "loaded"): 3, ("JSON", "refused"): 2}), 0.5, "JSON", 7)
    figures.write(tmp_path / "fuzz.json")
    assert Figures.read(tmp_path / "fuzz.json") == figures
