"""examples/distributed.py under torchrun, as a user starts it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stable_baselines3.common.env_util import make_vec_env

from sb3_trpo import TRPO, load_normalization

EXAMPLE = Path(__file__).parents[1] / "examples" / "distributed.py"
PATIENCE_S = 240


def started(folder, n_restarts, steps):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    options = ["--env", "Pendulum-v1", "--n-steps", "64", "--n-envs", "1", "--out", str(folder)]
    with (folder / "output").open("w") as output:
        return subprocess.Popen(
            [*command, f"--max-restarts={n_restarts}", EXAMPLE, *options, "--steps", str(steps)],
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def wait_for(condition, folder):
    end = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < end, (folder / "output").read_text()
        time.sleep(0.05)
    return value


@pytest.mark.slow
def test_run_goes_on_from_its_last_checkpoint_after_a_worker_was_killed(tmp_path):
    run = started(tmp_path, n_restarts=1, steps=6400)
    output = tmp_path / "output"
    try:
        wait_for(lambda: list(tmp_path.glob("checkpoints/0*")), tmp_path)
        victim = int(re.search(r"rank 1 of 2, process (\d+)", output.read_text())[1])
        os.kill(victim, signal.SIGKILL)
        assert run.wait(PATIENCE_S) == 0, output.read_text()
    finally:
        run.kill()
    text = output.read_text()
    assert len(re.findall(r"rank \d of 2, process", text)) == 4
    resumed_at = re.findall(r"goes on from \S*?\d+-steps-(\d+)", text)
    assert len(set(resumed_at)) == 1, text
    assert len(resumed_at) == 2, text
    done = int(resumed_at[0])
    assert done % (2 * 5 * 64) == 0
    model = TRPO.load(tmp_path / "model.zip")
    assert model.num_timesteps >= 6400
    assert (model.num_timesteps - done) % (2 * 64) == 0
    assert model._n_updates >= (6400 - done) // 128
    assert (
        load_normalization(tmp_path / "model.zip", make_vec_env("Pendulum-v1")).ret_rms.count > 6400
    )

    again = started(tmp_path, n_restarts=0, steps=128)  # a new run takes nothing from the old one
    assert again.wait(PATIENCE_S) == 0, output.read_text()
    assert "goes on from" not in output.read_text()
    assert TRPO.load(tmp_path / "model.zip").num_timesteps == 128
    assert (tmp_path / "checkpoints-before-1").exists()
