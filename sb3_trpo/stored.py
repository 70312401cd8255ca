"""Models in files: saved whole, with VecNormalize's statistics; loaded with trust or without."""

import io
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

import torch as th
from stable_baselines3.common.type_aliases import GymEnv

from sb3_trpo.call_arguments import (
    check_file,
    check_given,
    check_load,
    check_replacements,
    env_named,
)
from sb3_trpo.checked_algorithm import CheckedAlgorithm
from sb3_trpo.distributed import Processes
from sb3_trpo.normalization import append_statistics, warn_of_normalization
from sb3_trpo.safe_loading.load import errors_named, inert
from sb3_trpo.whole_files import write_zip
from sb3_trpo.zip_format import (
    ZipPath,
    check_is_trpo,
    read_header,
    stored_policy_kwargs,
    warn_of_units,
    was_written_by_contrib,
)

SelfStored = TypeVar("SelfStored", bound="StoredAlgorithm")


class StoredAlgorithm(CheckedAlgorithm):
    """An on-policy algorithm whose files are those of TRPO."""

    _processes: Processes

    def save(
        self,
        path: str | pathlib.Path | io.BufferedIOBase,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """
        Save the model, on the first of several processes; on the others do nothing.

        With the statistics of its VecNormalize: :func:`sb3_trpo.load_normalization` reads them. An
        older file stays as it was until the new one is on the disk.

        :param path: of the zip, or an open file
        :param exclude: attributes to leave out
        :param include: attributes to keep that would be left out
        :raises ValueError: an argument is not what is allowed
        """
        check_file("path", path, method="write")
        check_given(exclude=exclude, include=include)
        if self._processes.rank != 0:
            return

        def write(file: io.BufferedIOBase) -> None:
            super(StoredAlgorithm, self).save(file, exclude, include)
            append_statistics(file, self.env)

        write_zip(path, write)

    @classmethod
    def load(
        cls: type[SelfStored],
        path: ZipPath,
        env: GymEnv | None = None,
        device: th.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        print_system_info: bool = False,  # noqa: FBT001, FBT002  # SB3's signature
        force_reset: bool = True,  # noqa: FBT001, FBT002
        *,
        trusted: bool = True,
        allow: Iterable[Any] | Mapping[str, Any] = (),
        **kwargs: Any,
    ) -> SelfStored:
        """
        Load a model that this class or ``sb3_contrib.TRPO`` saved.

        The zip holds pickled objects, and the default does what SB3 does: it unpickles them, which
        runs whatever code the author of the file put there. Load a stranger's file with
        ``trusted=False``. Further keyword arguments replace attributes of the file
        (``n_steps=512``), or give those that ``save`` left out, where the class has them.

        :param path: of the zip, or an open file
        :param env: to go on learning in; None: for predictions
        :param device: where to put the networks
        :param custom_objects: replacements for attributes of the file
        :param print_system_info: of the saved model and of this machine
        :param force_reset: reset the environment before training
        :param trusted: False: build only what is on a short list (spaces, arrays, SB3's schedules,
            policies and extractors, torch's activations and optimisers), within bounds on sizes;
            refuse everything else by name, and run nothing of the file
        :param allow: with ``trusted=False``, classes and functions of yours that the file may name
            as well, or a dict from the names in the file to them; whatever arguments the file
            gives, they are called with
        :return: a new model
        :raises ValueError: the file is damaged, not TRPO's, or holds what ``trusted=False``
            refuses, or an attribute is out of range or unknown
        """
        check_load(
            *(path, env, device),
            custom_objects=custom_objects,
            print_system_info=print_system_info,
            force_reset=force_reset,
            trusted=trusted,
        )
        if not trusted:
            file = inert(path, allow, custom_objects, changes=kwargs, env=env)
            with errors_named(path):
                options = (device, file.objects, print_system_info, force_reset)
                load = StoredAlgorithm.load.__func__  # type: ignore[attr-defined]  # a subclass may override
                return cast(SelfStored, load(cls, file.zip, env, *options, **kwargs))
        if allow:
            raise ValueError(f"allow must be empty with trusted=True, got {allow!r}")
        header = read_header(path)
        check_is_trpo(header, path)
        check_replacements(kwargs, header, cls)
        warn_of_normalization(header, path, env)
        if "policy_kwargs" in kwargs:
            given = kwargs["policy_kwargs"]
            kwargs["policy_kwargs"] = stored_policy_kwargs(path, given, custom_objects)
        try:
            with env_named():
                model = super().load(
                    path, env, device, custom_objects, print_system_info, force_reset, **kwargs
                )
        except KeyError as error:  # SB3's, looking for the optimiser's state
            if "policy.optimizer" not in error.args:
                raise
            raise ValueError(f"{path} is damaged: it has no policy.optimizer.pth") from error
        if was_written_by_contrib(header) and not {"target_kl", "cg_damping"} <= kwargs.keys():
            warn_of_units(model.action_space, header)
        return model
