"""Files that are larger, deeper or otherwise than they should be are refused, at little cost."""

import io
import re
from pathlib import Path

import pytest

import sb3_trpo.inspect
from sb3_trpo import TRPO
from tests.commands import output_of
from tests.hostile_files import hostile_files
from tests.hostile_tensors import hostile_tensors
from tests.test_interop import quietly

MIB = 2**20


@pytest.fixture(scope="module")
def files():
    return [*hostile_files(), *hostile_tensors()]


def refusal_of(content):
    try:
        quietly(TRPO.load, io.BytesIO(content), device="cpu", trusted=False)
    except ValueError as error:
        return str(error)
    return None


def test_each_is_refused_by_name(files, record_property):
    wrong = {}
    for name, content, message in files:
        refusal = refusal_of(content)
        loads = message is None
        if loads != (refusal is None) or (
            not loads and not any(part in refusal for part in message.split("|"))
        ):
            wrong[name] = refusal
    record_property("hostile files", len(files))
    assert wrong == {}


@pytest.mark.slow
def test_inspect_says_the_same_and_prints_no_control_characters(files, tmp_path, capsys):
    path = tmp_path / "model.zip"
    wrong = {}
    for name, content, message in files:
        path.write_bytes(content)
        code = sb3_trpo.inspect.main([str(path)])
        printed = "".join(capsys.readouterr())
        if code != int(message is not None) or not printed.replace("\n", "").isprintable():
            wrong[name] = printed
    assert wrong == {}


@pytest.mark.slow
def test_refusing_takes_little_memory_and_time():
    printed = output_of("-m", "tests.hostile_cost", cwd=Path(__file__).parents[1])
    grown = re.search(r"(\d+) files, memory grew by (\d+) MiB", printed)
    assert int(grown[1]) > 200, printed
    assert int(grown[2]) < 100, printed
    assert float(re.search(r"longest: ([\d.]+) s of CPU", printed)[1]) < 10, printed
