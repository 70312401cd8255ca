"""Every malicious file goes off where it is trusted, and none where it is not."""

import contextlib
import shutil
from collections import Counter

import pytest
from gymnasium import spaces

import sb3_trpo.inspect
from sb3_trpo import TRPO
from sb3_trpo.safe_loading.attributes import OBSERVATIONS, STATISTICS
from tests.malicious_files import malicious_files
from tests.model_files import VECTOR
from tests.test_interop import Anything, quietly

LEFT_OUT = ("tensorboard_log", "lr_schedule", *OBSERVATIONS, *STATISTICS)
HARMLESS = {
    ("attributes", "a folder for the log"),
    ("VecNormalize", "in the zip"),
    *(("every attribute", name) for name in LEFT_OUT),
}
"""A model does without what is malicious in these: it loads, and learns on."""


@pytest.fixture(scope="module")
def canary(tmp_path_factory):
    return tmp_path_factory.mktemp("canary") / "canary"


@pytest.fixture(scope="module")
def files(canary):
    return list(malicious_files(canary))


def reset(file, canary):
    file.restore()
    if canary.is_dir():
        shutil.rmtree(canary)
    canary.unlink(missing_ok=True)


def has_fired(file, canary, result):
    return canary.exists() if file.has_changed is None else bool(file.has_changed(result))


def test_there_are_many_of_many_kinds(files, record_property):
    kinds = Counter(file.kind for file in files)
    record_property("malicious files", len(files))
    assert len(files) >= 100
    assert len(kinds) >= 12
    assert len({file.content for file in files}) == len(files)


def test_each_goes_off_where_it_is_trusted(files, canary, tmp_path):
    path = tmp_path / "model.zip"
    silent = []
    for file in files:
        reset(file, canary)
        path.write_bytes(file.content)
        result = None
        with contextlib.suppress(Exception):  # what it is worth as a model does not matter
            result = file.set_off(path)
        if not has_fired(file, canary, result):
            silent.append((file.kind, file.name))
        reset(file, canary)
    assert silent == []


def test_none_goes_off_where_it_is_not_trusted(files, canary, tmp_path):
    path = tmp_path / "model.zip"
    fired, loaded = [], []
    for file in files:
        reset(file, canary)
        path.write_bytes(file.content)
        model = load_untrusted(path)
        if model is not None:
            loaded.append((file.kind, file.name))
            quietly(model.learn, 8)
        if has_fired(file, canary, model):
            fired.append((file.kind, file.name))
        reset(file, canary)
    assert fired == []
    assert set(loaded) == HARMLESS


def load_untrusted(path):
    try:
        return quietly(
            TRPO.load, path, Anything(VECTOR, spaces.Discrete(2)), device="cpu", trusted=False
        )
    except ValueError as error:
        if path.name not in str(error):
            raise
    return None


def test_none_goes_off_when_it_is_inspected(files, canary, tmp_path, capsys):
    path = tmp_path / "model.zip"
    fired = []
    for file in files:
        reset(file, canary)
        path.write_bytes(file.content)
        sb3_trpo.inspect.main([str(path)])
        printed = capsys.readouterr()
        assert "model.zip" in printed.out + printed.err
        if has_fired(file, canary, None):
            fired.append((file.kind, file.name))
        reset(file, canary)
    assert fired == []
