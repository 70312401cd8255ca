"""
Train as examples/distributed.py does, with processes that Ray Train starts.

    pip install ".[mujoco,extra,ray]"
    python examples/ray_train.py --workers 2

On a cluster: run it on the head node. The folder of --out must be shared by all nodes.
"""

import argparse
from pathlib import Path
from typing import Any

import ray
from distributed import parser_of, set_aside, train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer


def on_worker(config: dict[str, Any]) -> None:
    """Train on one worker: Ray has made the torch.distributed group already."""
    train(argparse.Namespace(**config))


def main() -> None:
    """Start the workers and wait for them."""
    parser = parser_of(__doc__.splitlines()[1])
    parser.add_argument("--workers", type=int, default=2, help="processes, on any node")
    options = parser.parse_args()
    options.out = options.out.resolve()
    set_aside(options)
    # Workers import distributed.py, and the package from wherever it is installed.
    ray.init(runtime_env={"working_dir": str(Path(__file__).parent)})
    trainer = TorchTrainer(
        on_worker,
        train_loop_config=vars(options),
        torch_config=TorchConfig(backend="gloo", timeout_s=300),
        scaling_config=ScalingConfig(num_workers=options.workers),
        run_config=RunConfig(
            storage_path=str(options.out / "ray"), failure_config=FailureConfig(max_failures=3)
        ),
    )
    trainer.fit()


if __name__ == "__main__":
    main()
