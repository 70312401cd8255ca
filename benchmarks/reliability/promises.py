"""What is promised, and the tests that hold us to it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Promise:
    """
    A row of the table.

    :param text: what is promised
    :param tests: files below tests/, or ``file::function``
    """

    text: str
    tests: tuple[str, ...]


FAULTS, KILLS = "test_faults.py", "test_checkpoint_kills.py"

PROMISES = (
    Promise(
        "An exception at any operation of torch in an update, or at any line of ours, leaves "
        "policy, optimiser and counters as they were, bit for bit",
        (
            f"{FAULTS}::test_exception_at_any_torch_operation_leaves_everything",
            f"{FAULTS}::test_exception_at_any_line_leaves_everything_or_comes_after_it",
        ),
    ),
    Promise(
        "NaN, infinities and 1e30 in rewards, advantages, returns and log-probabilities skip the "
        "update whole, with the reason",
        (f"{FAULTS}::test_bad_number_in_the_rollout_skips_the_update_or_harms_nothing",),
    ),
    Promise(
        "Fisher products and trials of the line search that give no number take no step; wrong "
        "ones none beyond the bound on the KL",
        (
            f"{FAULTS}::test_fisher_product_that_is_spoilt_on_the_kth_call_skips_or_keeps_the_bound",
            f"{FAULTS}::test_trial_that_measures_no_number_is_not_taken",
        ),
    ),
    Promise(
        "Observations that are no numbers, environments that raise and workers that die end the "
        "run with the last update whole; `learn` can be called again",
        (
            f"{FAULTS}::test_bad_observation_stops_the_run_with_its_place_or_is_learnt_from",
            f"{FAULTS}::test_environment_that_raises_leaves_the_policy_and_can_be_learnt_from_again",
            f"{FAULTS}::test_worker_that_dies_leaves_a_model_that_saves_and_goes_on_elsewhere",
        ),
    ),
    Promise(
        "An actor step that runs out of memory is repeated in smaller chunks, with the same result",
        ("test_out_of_memory.py",),
    ),
    Promise(
        "A training that resumes is the uninterrupted one, bit for bit, where an episode has ended",
        (
            "test_checkpoint.py",
            "test_checkpoint_envs.py",
            "test_random_states.py",
            "test_reset_search.py",
        ),
    ),
    Promise(
        "Killed at any moment, it goes on from the newest whole checkpoint; several processes too",
        (
            f"{KILLS}::test_training_killed_anywhere_goes_on_bit_for_bit",
            f"{KILLS}::test_training_killed_at_many_moments",
            f"{KILLS}::test_killed_at_each_step_of_writing",
            "test_checkpoint_example.py",
            "test_checkpoint_ranks.py",
        ),
    ),
    Promise(
        "A full disk leaves the older file, and the training goes on",
        (
            f"{KILLS}::test_disk_full_at_each_step_of_writing",
            f"{KILLS}::test_training_survives_a_disk_that_is_full",
            f"{KILLS}::test_model_survives_a_save_that_fails",
        ),
    ),
    Promise(
        "Truncated, bit-flipped and empty files are a ValueError that names them, or load as they "
        "were; a model in memory stays as it was",
        (
            "test_damaged_files.py",
            f"{KILLS}::test_damaged_checkpoint_is_passed_over_for_the_older_one",
            f"{KILLS}::test_manifest_that_names_files_elsewhere_is_refused",
        ),
    ),
    Promise(
        "`save` keeps the statistics of VecNormalize, `load` says where they are missing",
        ("test_normalization.py",),
    ),
    Promise(
        "With `trusted=False`, and in `inspect`, nothing of a file runs; refusals name what it was",
        ("test_malicious_files.py", "test_hostile_files.py", "test_inspect.py", "test_fuzz.py"),
    ),
    Promise(
        "Every file that the three classes and sb3_contrib.TRPO write with standard parts loads "
        "with `trusted=False`, the same",
        ("test_safe_loading.py", "test_safe_allowances.py", "test_plain_data.py"),
    ),
    Promise(
        "A bad argument is a ValueError or TypeError that names it",
        ("test_bad_arguments.py", "test_bad_command_lines.py", "test_arguments.py"),
    ),
    Promise(
        "What is imported is declared; wheel and sdist hold the package alone",
        ("test_dependencies.py", "test_package.py"),
    ),
)
