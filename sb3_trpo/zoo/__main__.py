"""
Run rl_zoo3's scripts with TRPO, MaskableTRPO and RecurrentTRPO.

    python -m sb3_trpo.zoo train --algo trpo --env Hopper-v5
    python -m sb3_trpo.zoo enjoy --algo trpo --env Hopper-v5 -f logs
    python -m sb3_trpo.zoo train --algo trpo --env CartPole-v1 -optimize --n-trials 20
"""

import argparse
import importlib
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sb3_trpo.zoo import ALGORITHMS

SCRIPTS = {
    "train": "rl_zoo3.train",
    "enjoy": "rl_zoo3.enjoy",
    "record_video": "rl_zoo3.record_video",
    "record_training": "rl_zoo3.record_training",
    "benchmark": "rl_zoo3.benchmark",
}
"""Names on the command line to rl_zoo3's modules."""
PLOTS = ("plot_train", "all_plots")
"""Functions of ``rl_zoo3.plots``, called the same on the command line."""
HYPERPARAMETERS = Path(__file__).parent / "hyperparams"


def main(arguments: list[str]) -> None:
    """
    Run a script.

    :param arguments: its name, and its own arguments
    """
    if not arguments or arguments[0] not in (*SCRIPTS, *PLOTS):
        print(f"{__doc__}\nThe scripts: {', '.join([*SCRIPTS, *PLOTS])}", file=sys.stderr)
        if not arguments or arguments[0] in ("-h", "--help"):
            raise SystemExit(0 if arguments else 2)
        print(f"\npython -m sb3_trpo.zoo: error: no script {arguments[0]!r}", file=sys.stderr)
        raise SystemExit(2)
    script, *rest = arguments
    if script == "train":
        rest = with_our_hyperparameters(rest)
    sys.argv = [script, *rest]
    subprocess.call = _redirected(subprocess.call)
    if script in PLOTS:
        plots = importlib.import_module("rl_zoo3.plots")  # needs more than training does
        getattr(plots, script)()
    else:
        runpy.run_module(SCRIPTS[script], run_name="__main__")


def with_our_hyperparameters(arguments: list[str]) -> list[str]:
    """
    Let rl_zoo3 look for hyperparameters where ours are, unless the user says where.

    :param arguments: of its train script
    :return: the same, with ``-conf`` where the algorithm is one of ours
    """
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--algo")
    parser.add_argument("-conf", "--conf-file")
    known, _ = parser.parse_known_args(arguments)
    if known.algo not in ALGORITHMS or known.conf_file is not None:
        return arguments
    return [*arguments, "--conf-file", str(HYPERPARAMETERS / f"{known.algo}.yml")]


def _redirected(call: Callable[..., int]) -> Callable[..., int]:
    """
    Let its scripts start ours where they start each other.

    record_training calls record_video, which would not know our algorithms; benchmark calls a file
    enjoy.py that a checkout of rl_zoo3 has and an installation has not.
    """

    def redirected(command: Any, *args: Any, **kwargs: Any) -> int:
        ours = [sys.executable, "-m", "sb3_trpo.zoo"]
        if list(command[:2]) == ["python", "enjoy.py"]:
            command = [*ours, "enjoy", *command[2:]]
        elif list(command[:3]) == ["python", "-m", "rl_zoo3.record_video"]:
            command = [*ours, "record_video", *command[3:]]
        return call(command, *args, **kwargs)

    return redirected


if __name__ == "__main__":
    main(sys.argv[1:])
