r"""
Train TRPO with several processes, on one machine or on several; go on after one has died.

Two processes on this machine:

    torchrun --standalone --nproc-per-node=2 --max-restarts=3 examples/distributed.py

Several machines, the same line on each (the folder of --out must be shared by all):

    torchrun --nnodes=4 --nproc-per-node=16 --max-restarts=3 --rdzv-backend=c10d \
        --rdzv-endpoint=FIRST_MACHINE:29500 examples/distributed.py

SLURM, in a script for sbatch:

    #SBATCH --nodes=4 --ntasks-per-node=1 --cpus-per-task=16
    FIRST_MACHINE=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
    srun torchrun --nnodes="$SLURM_NNODES" --nproc-per-node=16 --max-restarts=3 \
        --rdzv-backend=c10d --rdzv-id="$SLURM_JOB_ID" --rdzv-endpoint="$FIRST_MACHINE:29500" \
        examples/distributed.py
"""

import argparse
import os
from datetime import timedelta
from pathlib import Path

import torch as th
import torch.distributed as dist
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from sb3_trpo import TRPO
from sb3_trpo.checkpoint import TrainingCheckpoint, learn_rest, newest_checkpoint, resume


def join_group(n_restarts: int) -> None:
    """Meet the other processes that torchrun started."""
    # A rank that is silent for longer is given up: longer than any evaluation that others wait for.
    timeout = timedelta(minutes=5)
    store, rank, size = next(dist.rendezvous("env://", timeout=timeout))
    # torchrun's store outlives a restart, and with it the addresses of the ranks that are dead.
    store = dist.PrefixStore(f"attempt {n_restarts}", store)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=timeout)


def chosen_by_first(path: Path | None) -> Path | None:
    """Let rank 0 say which checkpoint to start from, lest the ranks see different ones."""
    choice = [path]
    dist.broadcast_object_list(choice, src=0)
    return choice[0]


def parser_of(description: str) -> argparse.ArgumentParser:
    """Say what the command line takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--env", default="HalfCheetah-v5", help="id of the task")
    parser.add_argument("--steps", type=int, default=1_000_000, help="of all processes together")
    parser.add_argument("--n-envs", type=int, default=2, help="environments of each process")
    parser.add_argument("--n-steps", type=int, default=512, help="timesteps of each per update")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/distributed"))
    parser.add_argument("--resume", action="store_true", help="go on from the run in --out")
    return parser


def set_aside(options: argparse.Namespace) -> None:
    """Move the checkpoints of an earlier run out of the way of a new one."""
    checkpoints = options.out / "checkpoints"
    if options.resume or not checkpoints.exists():
        return
    number = len(list(options.out.glob("checkpoints-before-*"))) + 1
    aside = checkpoints.rename(options.out / f"checkpoints-before-{number}")
    print(f"the checkpoints of an earlier run are now in {aside} (--resume would use them)")


def train(options: argparse.Namespace) -> None:
    """Train with the other processes of the group, which is up; rank 0 logs and saves."""
    th.set_num_threads(1)  # fastest for networks as small as these
    rank, size = dist.get_rank(), dist.get_world_size()
    print(f"rank {rank} of {size}, process {os.getpid()}", flush=True)

    checkpoints = options.out / "checkpoints"
    env = make_vec_env(options.env, n_envs=options.n_envs)
    # At the end of every fifth rollout.
    saving = TrainingCheckpoint(5 * options.n_steps, checkpoints)
    found = chosen_by_first(newest_checkpoint(checkpoints) if rank == 0 else None)
    if found is None:
        model = TRPO(
            "MlpPolicy",
            VecNormalize(env),
            n_steps=options.n_steps,
            target_kl=0.04,
            learning_rate=1e-3,
            policy_kwargs={"log_std_init": -0.5},
            batch_size=128 * size,  # as many minibatches as one process alone would have
            tensorboard_log=str(options.out / "tensorboard"),
            verbose=1,
            seed=options.seed,
            device="cpu",
            distributed=True,
        )
        model.learn(options.steps, callback=saving)
    else:
        model = resume(found, env, device="cpu", distributed=True)
        print(f"rank {rank} goes on from {found}", flush=True)
        learn_rest(model, callback=saving)
    model.save(options.out / "model.zip")  # rank 0 does, with VecNormalize's statistics
    if rank == 0:
        print(f"{model.num_timesteps} steps; model, checkpoints, log: {options.out}")


def main() -> None:
    """Meet the other processes and train."""
    options = parser_of(__doc__.splitlines()[1]).parse_args()
    n_restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    join_group(n_restarts)
    if n_restarts == 0 and dist.get_rank() == 0:
        set_aside(options)
    train(options)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
