"""Damaged files: a ValueError that names the file and what is wrong, and nothing changed."""

import io
import random
import struct
import zipfile

import pytest
import torch as th
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from sb3_trpo import TRPO, load_normalization
from tests.model_files import attributes_of, small_model, whole_file, with_entries
from tests.test_interop import quietly


def truncated():
    whole = whole_file()
    for n in sorted({0, 1, 21, 22, len(whole) - 1, len(whole) - 22, *range(0, len(whole), 997)}):
        yield whole[:n]


def flipped(n):
    """One bit each, all over the file."""
    whole, draw = whole_file(), random.Random(0)
    for _ in range(n):
        place = draw.randrange(len(whole))
        changed = bytes([whole[place] ^ (1 << draw.randrange(8))])
        yield whole[:place] + changed + whole[place + 1 :]


def parameters_of(model):
    return [p.clone() for p in model.policy.state_dict().values()]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "model.zip"
    path.write_bytes(whole_file())
    return TRPO.load(path, device="cpu")


@pytest.mark.parametrize("trusted", [True, False])
def test_truncated_files_are_refused(trusted, tmp_path):
    path = tmp_path / "model.zip"
    for content in truncated():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"model\.zip (is|cannot be loaded: it is) damaged"):
            TRPO.load(path, device="cpu", trusted=trusted)


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("name", ["data", "policy.pth", "policy.optimizer.pth"])
def test_file_without_an_entry_is_refused(name, trusted, tmp_path):
    path = tmp_path / "model.zip"
    path.write_bytes(with_entries(**{name: None}))
    with pytest.raises(ValueError, match=r"model\.zip (is damaged|cannot be loaded: it)"):
        TRPO.load(path, device="cpu", trusted=trusted)


@pytest.mark.parametrize("trusted", [True, False])
def test_flipped_bits_are_noticed_or_without_meaning(trusted, reference, tmp_path):
    path = tmp_path / "model.zip"
    n_refused = 0
    for content in flipped(200):
        path.write_bytes(content)
        try:
            model = quietly(TRPO.load, path, device="cpu", trusted=trusted)
        except ValueError as error:
            what = "model.zip is damaged" if trusted else "model.zip cannot be loaded: "
            assert what in str(error)  # noqa: PT017  # not all raise
            n_refused += 1
            continue
        pairs = zip(parameters_of(model), parameters_of(reference), strict=True)
        assert all(th.equal(a, b) for a, b in pairs)
        for name in attributes_of(whole_file()).keys() - {"lr_schedule"}:
            assert repr(vars(model)[name]) == repr(vars(reference)[name]), name
    assert n_refused > 150  # a date or an unused flag of the zip may be flipped


CENTRAL_HEADER, END_OF_LIST = b"PK\x01\x02", b"PK\x05\x06"
LENGTH_OF_EXTRA, LENGTH_OF_COMMENT = 30, 32


def shortened(whole):
    """One bit each in the lengths that say where the next entry of the zip's list begins."""
    begin = whole.rindex(END_OF_LIST)
    size, start = struct.unpack("<II", whole[begin + 12 : begin + 20])
    assert start + size == begin
    place = start
    while place < begin:
        for field in (LENGTH_OF_EXTRA, LENGTH_OF_COMMENT):
            for bit in range(16):
                at = place + field + bit // 8
                yield whole[:at] + bytes([whole[at] ^ (1 << bit % 8)]) + whole[at + 1 :]
        assert whole[place : place + 4] == CENTRAL_HEADER
        place += 46 + sum(struct.unpack("<HHH", whole[place + 28 : place + 34]))


@pytest.mark.parametrize("trusted", [True, False])
def test_list_of_entries_that_is_cut_short_is_noticed(trusted, tmp_path):
    """Python's zipfile does not; statistics would be missing without a word."""
    path = tmp_path / "model.zip"
    model = TRPO("MlpPolicy", VecNormalize(make_vec_env("CartPole-v1")), n_steps=8, device="cpu")
    model.save(path)
    whole, n_shorter = path.read_bytes(), 0
    for content in shortened(whole):
        path.write_bytes(content)
        n_entries = n_entries_of(content)
        n_shorter += 0 < n_entries < n_entries_of(whole)
        for read in (
            lambda: TRPO.load(path, device="cpu", trusted=trusted),
            lambda: load_normalization(path, make_vec_env("CartPole-v1")),
        ):
            if n_entries == n_entries_of(whole):  # the last one's lengths: nothing follows
                read()
            else:
                with pytest.raises(ValueError, match=r"model\.zip"):
                    read()
    assert n_shorter > 40  # for zipfile they are whole


def n_entries_of(content):
    """0: zipfile notices that something is wrong."""
    try:
        return len(zipfile.ZipFile(io.BytesIO(content)).namelist())
    except zipfile.BadZipFile:
        return 0


def test_damaged_file_leaves_a_model_untouched(tmp_path, record_property):
    model = small_model()
    before, path = parameters_of(model), tmp_path / "model.zip"
    files = [*truncated(), *flipped(200)]
    record_property("damaged files", len(files))  # all that the other tests try, too
    for content in files:
        path.write_bytes(content)
        try:
            model.set_parameters(path, device="cpu")
        except ValueError as error:
            assert "model.zip" in str(error)  # noqa: PT017  # some bits have no meaning
        else:
            model.set_parameters(small_model().get_parameters(), device="cpu")
        assert all(th.equal(a, b) for a, b in zip(before, parameters_of(model), strict=True))
