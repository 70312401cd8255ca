"""Going on with a training from its checkpoint."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch as th
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize

import sb3_trpo
from sb3_trpo.call_arguments import check_device, check_env, check_given
from sb3_trpo.checkpoint.env_access import EnvAccess
from sb3_trpo.checkpoint.files import Damaged, Stored, as_folder, newest, read_checkpoint
from sb3_trpo.checkpoint.layout import MODEL, state_of
from sb3_trpo.checkpoint.training_state import restore
from sb3_trpo.distributed import Processes, processes
from sb3_trpo.normalization import normalised, read_statistics
from sb3_trpo.normalizer_statistics import Statistics

if TYPE_CHECKING:
    from sb3_trpo.trpo import TRPO

SomeTRPO = TypeVar("SomeTRPO", bound="TRPO")
_CLASSES = ("TRPO", "MaskableTRPO", "RecurrentTRPO")


def newest_checkpoint(path: str | Path) -> Path | None:
    """
    Find the newest whole checkpoint; warn of each damaged one that is newer.

    :param path: folder of ``TrainingCheckpoint``
    :return: its folder; None if there is none
    """
    stored = newest(as_folder(path))
    return None if stored is None else stored.path


def resume(
    path: str | Path,
    env: GymEnv,
    *,
    model_class: type["TRPO"] | None = None,
    device: th.device | str = "auto",
    custom_objects: dict[str, Any] | None = None,
    distributed: bool = False,
) -> "TRPO":
    """
    Go on with a training: return the model as it was between two rollouts.

    The environments are reset. Where an episode had just begun, it begins again as it did (its
    generators' states are stored); elsewhere, for an environment's own state cannot be stored, a
    new episode begins. Everything else is as it was: parameters, optimiser, counters, schedules,
    generators, VecNormalize, callbacks of SB3's. :func:`learn_rest` then does what was left.

    The checkpoint holds a zip of SB3's, and with it pickled objects: resume only your own.

    :param path: folder of ``TrainingCheckpoint``, whose newest whole checkpoint is taken, or of one
        checkpoint
    :param env: environments like those of the training, as many; where they were in a VecNormalize
        and ``env`` has none, it is wrapped in one
    :param model_class: of the model; None: what the checkpoint says, TRPO, MaskableTRPO or
        RecurrentTRPO
    :param device: where to put the networks
    :param custom_objects: replacements for attributes of the zip
    :param distributed: go on with the other processes of the group, as many as before
    :return: the model
    :raises ValueError: there is no whole checkpoint, or it is of another class, other environments
        or another number of processes; says what differs
    """
    check_env(env)
    check_device(device)
    check_given(custom_objects=custom_objects)
    group = processes(distributed=distributed)
    stored = _agreed(group, as_folder(path))
    state = state_of(stored.files, group.rank)
    cls = _class_of(state, model_class)
    if state["ranks"] != group.size:
        raise ValueError(
            f"{stored.path} is of {state['ranks']} processes that learn together, and here are "
            f"{group.size} (distributed={distributed})"
        )
    file = io.BytesIO(stored.files[MODEL])
    venv = _prepared(env, state, read_statistics(file), cls)
    model = cls.load(
        file, venv, device=device, custom_objects=custom_objects, distributed=distributed
    )
    restore(model, state)
    return model


def learn_rest(
    model: SomeTRPO, callback: MaybeCallback = None, *, progress_bar: bool = False
) -> SomeTRPO:
    """
    Do what is left of the ``learn()`` that a checkpoint was written in.

    That is ``learn(total − num_timesteps, reset_num_timesteps=False)`` with the total of that call,
    so that schedules go on where they were; logged as often and under the same name.

    :param model: from :func:`resume`
    :param callback: called at every step, as in the first call
    :param progress_bar: show one (needs tqdm and rich)
    :return: the model
    :raises ValueError: the model is not one that :func:`resume` has just returned
    """
    rest = getattr(model, "_continuation", None)
    if rest is None:
        raise ValueError("model must be one that resume() returned and that has not learnt since")
    return model.learn(
        max(model._total_timesteps - model.num_timesteps, 0),
        callback,
        reset_num_timesteps=False,
        progress_bar=progress_bar,
        **rest.learn_arguments,
    )


def _agreed(group: Processes, path: Path) -> Stored:
    """Read the newest whole checkpoint; of several processes the first says which one that is."""
    found, faults = None, [""]
    try:
        found = newest(path) if group.rank == 0 else None
        fault = "" if found or group.rank else f"path must hold a whole checkpoint, got {path}"
    except Damaged as error:
        fault = str(error)
    chosen, fault = group.exchange((found and found.path, fault))[0]
    if not fault and group.rank > 0:
        try:
            found = read_checkpoint(chosen)
        except Damaged as error:
            fault = str(error)
    faults = [told for told in group.exchange(fault) if told]
    if faults or found is None:
        raise ValueError(faults[0])
    return found


def _class_of(state: dict[str, Any], given: type["TRPO"] | None) -> type["TRPO"]:
    name = state["class"]
    if given is None:
        if name not in _CLASSES:
            raise ValueError(
                f"model_class must be given: the checkpoint is of {name}, a class of your own"
            )
        found: type[TRPO] = getattr(sb3_trpo, name)
        return found
    if not (isinstance(given, type) and issubclass(given, sb3_trpo.TRPO)):
        raise ValueError(f"model_class must be a subclass of TRPO, got {given!r}")
    if given.__name__ != name:
        raise ValueError(f"model_class must be {name}, as in the checkpoint, got {given.__name__}")
    return given


def _prepared(
    env: Any, state: dict[str, Any], statistics: Statistics | None, cls: type["TRPO"]
) -> VecEnv:
    """Check the environments, and normalise them as they were."""
    venv = env if isinstance(env, VecEnv) else cls._wrap_env(env)
    _check_same_tasks(venv, state["env"])
    normaliser = unwrap_vec_normalize(venv)
    if normaliser is not None and statistics is None:
        raise ValueError("env must have no VecNormalize, as in the checkpoint, got one")
    if normaliser is None and statistics is not None:
        venv = normalised(venv, statistics)
    venv = cls._wrap_env(venv)
    for name, space in state["spaces"].items():
        own = repr(getattr(venv, name))
        if own != space["is"]:
            raise ValueError(f"env's {name} must be {space['is']}, as in the checkpoint, got {own}")
    if normaliser is not None and statistics is not None:
        statistics.give_to(normaliser)
    return venv


def _check_same_tasks(venv: VecEnv, stored: dict[str, Any]) -> None:
    n_envs = len(stored["now"])
    if venv.num_envs != n_envs:
        raise ValueError(
            f"env must be {n_envs} environments, as in the checkpoint, got {venv.num_envs}"
        )
    for was, now in zip(stored["ids"], EnvAccess.of(venv).ids(), strict=True):
        if None not in (was, now) and was != now:
            raise ValueError(f"env must be of {was}, as in the checkpoint, got {now}")
