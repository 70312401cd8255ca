"""examples/train.py, killed and gone on with, as `make train RESUME=1` does it."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.commands import output_of

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "train.py"
PATIENCE_S = 240


def test_make_passes_resume_on():
    for arguments, is_there in (([], False), (["RESUME=1"], True)):
        command = ["make", "--dry-run", "train", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert ("--resume" in done.stdout) is is_there


def heed_ctrl_c():
    """As in a shell: whoever runs the tests in the background may have them ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_training_goes_on_where_it_was(how, tmp_path):
    options = ["--env", "Pendulum-v1", "--steps", "30720"]
    folder = tmp_path / "runs" / "Pendulum-v1-seed0"
    command = [sys.executable, EXAMPLE, *options]
    first = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c
    )
    try:
        end = time.monotonic() + PATIENCE_S
        while not list(folder.glob("checkpoints/0*")):
            assert first.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        first.send_signal(how)
        try:
            complaint = first.communicate(timeout=PATIENCE_S)[1]
        finally:
            first.kill()
    assert ("Stopped. The same with --resume" in complaint) is (how is signal.SIGINT)
    assert not (folder / "model.zip").exists()
    written = sorted(folder.glob("checkpoints/0*"))[-1].name

    text = output_of(EXAMPLE, *options, "--resume", cwd=tmp_path)
    assert f"goes on from {written.split('-')[-1]} steps" in text
    assert re.search(r"Pendulum-v1, 30720 steps, 10 episodes: -\d+", text)
    assert (folder / "model.zip").exists()
    assert [path.name for path in (folder / "tensorboard").iterdir()] == ["TRPO_1"]

    assert "goes on" not in output_of(EXAMPLE, *options[:2], "--steps", "2048", cwd=tmp_path)
