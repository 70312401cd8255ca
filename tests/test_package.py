"""What is published: the package alone, with its metadata."""

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
import yaml

from sb3_trpo.version import __version__

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "sb3_trpo"
NAME = f"sb3_trpo-{__version__}"
ARRANGED = {"METADATA", "RECORD", "WHEEL", "top_level.txt", "licenses/LICENSE"}
BESIDE = {"CHANGELOG.md", "CITATION.cff", "LICENSE", "MANIFEST.in", "README.md", "pyproject.toml"}
WRITTEN = {"PKG-INFO", "setup.cfg"}
ABOUT = {"PKG-INFO", "SOURCES.txt", "dependency_links.txt", "requires.txt", "top_level.txt"}

pytestmark = pytest.mark.skipif(not SOURCES.exists(), reason="tests an installed package")


def files_of_the_package():
    paths = (path for path in SOURCES.rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in paths if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The sdist, and the wheel that is built from it, of a copy of the whole clone."""
    folder = tmp_path_factory.mktemp("published")
    left_out = shutil.ignore_patterns(".*", "results", "runs", "build", "dist", "*.egg-info")
    shutil.copytree(ROOT, folder / "clone", ignore=left_out)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist"]
    done = subprocess.run([*command, folder / "clone"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "dist"


def test_wheel_holds_the_package_alone(published):
    (wheel,) = published.glob("*.whl")
    assert wheel.name == f"{NAME}-py3-none-any.whl"
    arranged = {f"{NAME}.dist-info/{name}" for name in ARRANGED}
    assert set(zipfile.ZipFile(wheel).namelist()) == files_of_the_package() | arranged


def test_source_archive_holds_the_package_and_what_builds_it(published):
    with tarfile.open(published / f"{NAME}.tar.gz") as archive:
        names = {member.name for member in archive if member.isfile()}
    about = {f"sb3_trpo.egg-info/{name}" for name in ABOUT}
    expected = files_of_the_package() | BESIDE | WRITTEN | about
    assert names == {f"{NAME}/{name}" for name in expected}


def test_package_holds_code_settings_and_the_reports_template_alone():
    suffixes = {Path(name).suffix for name in files_of_the_package() - {"sb3_trpo/py.typed"}}
    assert suffixes == {".py", ".yml", ".html", ".css"}
    assert (SOURCES / "py.typed").exists()


def test_index_accepts_the_metadata(published):
    command = [sys.executable, "-m", "twine", "check", "--strict", *published.iterdir()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_metadata_says_what_the_package_is(published):
    (wheel,) = published.glob("*.whl")
    text = zipfile.ZipFile(wheel).read(f"{NAME}.dist-info/METADATA").decode()
    metadata = message_from_string(text)
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata["Requires-Python"] == ">=3.10"
    assert "Typing :: Typed" in metadata.get_all("Classifier")
    extras = set(metadata.get_all("Provides-Extra"))
    assert {"contrib", "envpool", "extra", "mujoco", "onnx", "ray", "report", "zoo"} <= extras


def test_version_is_semantic_and_the_same_wherever_it_stands():
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", __version__)
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == __version__
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__
