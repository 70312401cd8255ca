"""The types of the public API, as mypy sees them from outside the clone."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

import sb3_trpo

CLIENT = Path(__file__).with_name("typed_client.py")
SAID = re.compile(rf"{CLIENT.name}:(\d+): (\w+): (.*)")
REVEALED = re.compile('Revealed type is "(.*)"')
MODULES = re.compile(r"(\w+\.)+(?=\w)")
EXPECTED = re.compile(r"  # ((?:reveals|wrong:) .*)$")


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """An environment in which the package lies as a wheel puts it, its dependencies beside it."""
    folder = tmp_path_factory.mktemp("typed") / "venv"
    venv.create(folder)
    bin_folder = "Scripts" if os.name == "nt" else "bin"
    interpreter = folder / bin_folder / "python"
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(subprocess.check_output([interpreter, "-c", ask], text=True).strip())
    shutil.copytree(Path(sb3_trpo.__file__).parent, packages / "sb3_trpo")
    (packages / "beside.pth").write_text(sysconfig.get_path("purelib"))
    return interpreter


def found_by_mypy(python, folder):
    """Each line of the client on which mypy says something, and what."""
    shutil.copy(CLIENT, folder)
    options = ["--strict", "--no-error-summary", "--python-executable", python]
    options += ["--cache-dir", CLIENT.parents[1] / ".mypy_cache" / "client"]
    command = [sys.executable, "-m", "mypy", *options, CLIENT.name]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    for text in done.stdout.splitlines():
        line, kind, message = SAID.fullmatch(text).groups()
        if kind == "error":
            yield int(line), f"wrong: {message.rsplit('[', 1)[1].rstrip(']')}"
        elif revealed := REVEALED.fullmatch(message):
            yield int(line), f"reveals {MODULES.sub('', revealed[1])}"


def expected():
    for number, line in enumerate(CLIENT.read_text().splitlines(), start=1):
        if said := EXPECTED.search(line):
            yield number, said[1]


@pytest.mark.slow  # make type runs it
def test_types_of_the_public_api_are_those_that_a_user_counts_on(python, tmp_path):
    assert sorted(found_by_mypy(python, tmp_path)) == sorted(expected())
