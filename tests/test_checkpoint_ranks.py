"""Several processes that learn together write one checkpoint, and go on from it."""

import os
import signal
from pathlib import Path

import pytest
import torch.distributed as dist
from stable_baselines3.common.callbacks import BaseCallback

from sb3_trpo.checkpoint import TrainingCheckpoint, learn_rest, resume
from tests.ranks import Ranks
from tests.training_runs import CASES, N_ENVS, N_STEPS, as_text, logging, outcome

ROLLOUT = 2 * N_ENVS * N_STEPS
TOTAL = 3 * ROLLOUT


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    ranks = Ranks(tmp_path_factory.mktemp("ranks"))
    yield ranks
    ranks.close()


class Dying(BaseCallback):
    """Rank 1 is killed in the third rollout."""

    def _on_step(self):
        if self.n_calls == 2 * N_STEPS + 3 and dist.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return True


def train(name, folder, dies):
    model = CASES[name].model(distributed=True, **({} if name == "trpo" else {"seed": None}))
    rows = model.logger.output_formats[0].rows
    callbacks = [TrainingCheckpoint(N_STEPS, folder, keep=9)]
    model.learn(TOTAL, callback=[*callbacks, Dying()] if dies else callbacks)
    return outcome(model), as_text(rows)


def go_on(name, path):
    model, rows = logging(resume(path, CASES[name].env(), device="cpu", distributed=True))
    learn_rest(model)
    return outcome(model), as_text(rows.rows)


def refuse(name, path, distributed):
    resume(path, CASES[name].env(), device="cpu", distributed=distributed)


@pytest.mark.parametrize(
    "name", ["recurrent", *(pytest.param(n, marks=pytest.mark.slow) for n in ("trpo", "maskable"))]
)
def test_ranks_go_on_bit_for_bit_and_agree_on_what_is_wrong(name, two_ranks, tmp_path):
    folder = tmp_path / "checkpoints"
    wanted = two_ranks.run(train, name, folder, False)
    assert [path.name for path in sorted(folder.iterdir())] == [
        f"00000{n}-steps-{n * ROLLOUT}" for n in (1, 2, 3)
    ]
    first = folder / f"000001-steps-{ROLLOUT}"
    found = two_ranks.run(go_on, name, first)
    for rank in (0, 1):
        assert found[rank][0] == wanted[rank][0]
    assert found[0][1] == wanted[0][1][1:]
    assert found[0][0]["envs"] != found[1][0]["envs"]

    for message in two_ranks.errors(refuse, name, tmp_path / "nothing", True):
        assert "path must hold a whole checkpoint, got" in message
    for message in two_ranks.errors(refuse, name, first, False):
        assert "is of 2 processes that learn together, and here are 1" in message
    for message in two_ranks.errors(train, name, folder, False):
        assert "path must be a folder without checkpoints of another training" in message
    with pytest.raises(ValueError, match="of 2 processes that learn together, and here are 1"):
        resume(first, CASES[name].env())


@pytest.mark.slow
def test_ranks_go_on_after_one_was_killed(tmp_path):
    folders = [tmp_path / name for name in ("first", "second", "third")]
    for folder in folders:
        folder.mkdir()
    whole, killed, again = (Ranks(folder) for folder in folders)
    try:
        wanted = whole.run(train, "trpo", tmp_path / "whole", False)
        killed.start(train, "trpo", tmp_path / "killed", True)
        assert "lost contact with another rank" in killed.outcome(0)[1][0]
        assert [path.name for path in sorted(Path(tmp_path / "killed").iterdir())] == [
            f"00000{n}-steps-{n * ROLLOUT}" for n in (1, 2)
        ]
        found = again.run(go_on, "trpo", tmp_path / "killed")
        assert [one[0] for one in found] == [one[0] for one in wanted]
    finally:
        for ranks in (whole, killed, again):
            ranks.close()
