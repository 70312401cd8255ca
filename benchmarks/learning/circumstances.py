"""With what, and on what, a run was made: no names of hosts, users or folders."""

import os
import platform
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "numpy", "gymnasium", "mujoco", "stable_baselines3", "sb3_contrib", "sb3_trpo")


def versions() -> dict[str, Any]:
    """Return the versions that decide a run's numbers; for our code and this harness the commit."""
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--", ".", ":/benchmarks/learning/*.py")
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "sb3_trpo_commit": commit,
        "sb3_trpo_changed_since": None if changes is None else bool(changes),
    }


def machine() -> dict[str, Any]:
    """Return the kind of machine."""
    return {"platform": platform.platform(), "cpu": _cpu_model(), "cores": os.cpu_count()}


def _git(*arguments: str) -> str | None:
    """Return what git says about our source, or None where there is no checkout."""
    package = find_spec("sb3_trpo")  # not imported: a peer's run does not need it to be whole
    if package is None or package.origin is None:
        return None
    source = Path(package.origin).parent
    try:
        answer = subprocess.run(
            ["git", *arguments], cwd=source, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
