"""A short run of tests/fuzz.py; `make fuzz` is the long one."""

import os

import pytest

from sb3_trpo.safe_loading import builder
from tests.fuzz import Fuzz, load
from tests.fuzz_strategies import DANGEROUS, base_files


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory):
    assert [load(content) for content in base_files()] == ["loaded"] * len(base_files())
    return Fuzz(tmp_path_factory.mktemp("fuzz"))


def test_nothing_but_a_refusal_comes_of_changed_files(fuzz):
    fuzz.run(number=0, n_files=350)
    kinds = {kind for kind, _ in fuzz.figures.outcomes}
    assert sum(fuzz.figures.outcomes.values()) >= 300
    assert len(kinds) == 11


def test_it_would_be_noticed_if_a_file_ran_something(fuzz, monkeypatch):
    """With a builder that calls what is named, as pickle does."""

    def call(self, call):
        function, arguments = self.build(call.function), self.build(call.arguments)
        return function(*arguments)

    monkeypatch.setattr(builder.Builder, "_called", call)
    monkeypatch.setattr(builder, "listed", lambda name: os.system if name in DANGEROUS else dict)
    with pytest.raises(AssertionError, match="run by a file"):
        fuzz.run(number=1, n_files=1400)
