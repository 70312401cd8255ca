"""SB3's methods, with errors that name the argument."""

from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.type_aliases import GymEnv, TensorDict

from sb3_trpo.call_arguments import check_device, check_env, check_file, check_given, env_named
from sb3_trpo.observations import fault_of
from sb3_trpo.policies import HOW_TO_SHARE, has_two_extractors
from sb3_trpo.snapshot import Snapshot
from sb3_trpo.zip_format import check_whole


class OtherParameters(ValueError, RuntimeError):
    """The parameters are those of another policy: a RuntimeError, too, as in SB3."""


class CheckedAlgorithm(OnPolicyAlgorithm):
    """An on-policy algorithm whose methods say which argument is wrong."""

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,  # noqa: FBT001, FBT002  # SB3's signature
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """
        Choose actions.

        :param observation: of one environment or of several
        :param state: of a policy with memory
        :param episode_start: whether the observations open an episode, for a policy with memory
        :param deterministic: the likeliest actions instead of drawn ones
        :return: the actions, and the next state
        :raises ValueError: an argument is not what is allowed
        """
        check_given(deterministic=deterministic)
        try:
            return super().predict(observation, state, episode_start, deterministic)
        except Exception as error:
            self._explain(error, observation)
            raise

    def _explain(self, error: Exception, observation: Any) -> None:
        """Raise an error that says so if the observation is to blame: at no cost if it is not."""
        fault = fault_of(observation, self.observation_space)
        if fault:
            raise ValueError(fault) from error

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:  # noqa: FBT001, FBT002
        """
        Learn in other environments from now on.

        :param env: as many as before, with the same spaces
        :param force_reset: reset them before training
        :raises ValueError: they do not fit the model
        """
        check_env(env)
        check_given(force_reset=force_reset)
        with env_named():
            super().set_env(env, force_reset)

    def set_logger(self, logger: Logger) -> None:
        """
        Log with a logger of one's own.

        :param logger: to use from now on
        :raises ValueError: it is none
        """
        check_given(logger=logger)
        super().set_logger(logger)

    def set_parameters(
        self,
        load_path_or_dict: str | TensorDict,
        exact_match: bool = True,  # noqa: FBT001, FBT002  # SB3's signature
        device: th.device | str = "auto",
    ) -> None:
        """
        Take over the parameters of a file or of :meth:`get_parameters`: all of them, or none.

        :param load_path_or_dict: a zip of this or another algorithm with the same policy, or a dict
        :param exact_match: refuse parameters that are missing or too many
        :param device: where to read the file to
        :raises ValueError: the file is damaged, or the parameters are those of another policy
            (then a RuntimeError as well)
        """
        check_given(exact_match=exact_match)
        check_device(device)
        if not isinstance(load_path_or_dict, dict):
            check_file("load_path_or_dict", load_path_or_dict, method="read")
            check_whole(load_path_or_dict)
        before = Snapshot(self.policy)
        try:
            super().set_parameters(load_path_or_dict, exact_match, device)
        except BaseException as error:
            before.restore()
            if not isinstance(error, Exception) or isinstance(error, th.OutOfMemoryError):
                raise
            advice = f" {HOW_TO_SHARE}" if has_two_extractors(self.policy) else ""
            kind = OtherParameters if isinstance(error, RuntimeError) else ValueError
            raise kind(f"load_path_or_dict must fit the policy. {error}{advice}") from error
