"""
Look into a stranger's model, load it without running anything of it, and evaluate it.

    python examples/load_untrusted.py model.zip --env CartPole-v1
    python examples/load_untrusted.py       # makes a sound file and a malicious one, and tries both
"""

import argparse
from pathlib import Path

from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

import sb3_trpo.inspect
from sb3_trpo import TRPO


class Payload:
    """What a pickle makes by a call: here of print, but it could be anything."""

    def __reduce__(self) -> tuple[object, ...]:
        """Tell pickle which call."""
        return print, ("THE STRANGER'S CODE RUNS",)


def made_files(env_id: str) -> list[Path]:
    """Save the same model twice, once with a call in place of its learning rate."""
    model = TRPO("MlpPolicy", env_id, n_steps=256, batch_size=64, seed=0, device="cpu").learn(2048)
    paths = [Path("sound.zip"), Path("malicious.zip")]
    model.save(paths[0])
    model.learning_rate = Payload()  # type: ignore[assignment]  # as an attacker would
    model.save(paths[1])
    return paths


def try_out(path: Path, env_id: str) -> None:
    """Print what is in a file; load and evaluate it, if nothing of it is refused."""
    sb3_trpo.inspect.main([str(path)])
    env = make_vec_env(env_id, n_envs=4, seed=0)
    try:
        model = TRPO.load(path, env, device="cpu", trusted=False)
    except ValueError as error:
        print(f"\nNot loaded: {error}\n")
        return
    mean, std = evaluate_policy(model, env, n_eval_episodes=20)
    print(f"\nReturn: {mean:.0f} ± {std:.0f}\n")


def main() -> None:
    """Try the given file, or two that are made here."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("file", nargs="?", type=Path, help="zip of a model")
    parser.add_argument("--env", default="CartPole-v1")
    options = parser.parse_args()
    for path in [options.file] if options.file else made_files(options.env):
        try_out(path, options.env)


if __name__ == "__main__":
    main()
