"""What a run's own numbers say of return, critic, entropy and time."""

import numpy as np

from sb3_trpo.report.findings import FEWEST_ROWS, Finding, late, number, percent, too_few
from sb3_trpo.report.runs import Run, clock, entropy, phase_seconds, training_return


def of_return(run: Run) -> list[Finding]:
    """
    Judge the return: its end, its best, its course.

    :param run: any
    :return: what there is to say
    """
    series = training_return(run)
    if series is None:
        return []
    values = series.finite
    steps = series.steps[np.isfinite(series.values)]
    end, best = values[-1], values.argmax()
    said = f"From {number(values[0])} to {number(end)}; best {number(values[best])} "
    said += f"at {number(steps[best])} steps."
    spread = np.ptp(values)
    if len(values) < FEWEST_ROWS or spread == 0:
        return [Finding(said)]
    rise, level = values[best] - values[0], max(abs(values[0]), abs(end))
    if rise < 0.1 * level or end <= values[0]:
        return [
            Finding(
                f"{said} It did not rise: see explained variance and KL, or train for longer.",
                worth_a_look=True,
            )
        ]
    if values[best] - end > 0.25 * spread:
        lost = (values[best] - end) / spread
        return [
            Finding(
                f"{said} It ends {percent(lost)} of its range below its best: steps too long "
                "(lower target_kl, or a schedule), or a critic that lost track.",
                worth_a_look=True,
            )
        ]
    return [Finding(said)]


def of_duration(run: Run) -> list[Finding]:
    """
    Say how long training took.

    :param run: any
    :return: what there is to say
    """
    time, series = clock(run), training_return(run)
    if time is None or series is None or not len(time):
        return []
    steps, seconds = time.steps[-1], time.values[-1]
    rate = f", {number(steps / seconds)} steps per second" if seconds > 0 else ""
    return [Finding(f"{number(steps)} steps in {number(seconds)} s{rate}.")]


def of_explained_variance(run: Run) -> list[Finding]:
    """
    Judge the critic in the last quarter of the run.

    :param run: any
    :return: what there is to say
    """
    series = run.series("train/explained_variance")
    if series is None:
        return []
    if len(series.finite) < FEWEST_ROWS:
        return too_few(series)
    median = float(np.median(late(series)))
    said = f"The median over the last quarter is {number(median)}."
    if median >= 0.1:
        return [Finding(said)]
    passes = "n_critic_updates" if run.algorithm.startswith("TRPO") else "n_epochs"
    now = ", ".join(
        f"{name} is {run.hyperparameters[name]}"
        for name in (passes, "learning_rate")
        if name in run.hyperparameters
    )
    cure = f"more passes ({passes}), another learning_rate, or rewards scaled by VecNormalize"
    if run.algorithm == "A2C":
        cure = "another learning_rate, longer rollouts (n_steps), or rewards scaled by VecNormalize"
    cure += "; harmless if the returns are all alike"
    said += f" The critic is not fitting: {cure}"
    return [Finding(f"{said} ({now}).".replace(" ()", ""), worth_a_look=True)]


def of_entropy(run: Run) -> list[Finding]:
    """
    Judge how much the policy still tries.

    :param run: any
    :return: what there is to say
    """
    std = run.series("train/std")
    series = std if std is not None else entropy(run)
    if series is None:
        return []
    what = "The standard deviation" if std is not None else "The entropy"
    first, last = series.finite[0], series.finite[-1]
    said = f"{what} went from {number(first)} to {number(last)}."
    if len(series.finite) < FEWEST_ROWS or first <= 0:
        return [Finding(said)]
    if last < 0.1 * first:
        return [
            Finding(
                f"{said} The policy hardly tries any more; if the return still has to rise, "
                "use ent_coef or smaller steps.",
                worth_a_look=True,
            )
        ]
    if last > 1.3 * first:
        return [
            Finding(
                f"{said} It grows: no action proves better, or ent_coef is too high.",
                worth_a_look=True,
            )
        ]
    return [Finding(said)]


def of_time(run: Run) -> list[Finding]:
    """
    Say which part of an update takes longest.

    :param run: any
    :return: what there is to say
    """
    seconds = phase_seconds(run)
    fps = run.series("time/fps")
    if not seconds:
        return [] if fps is None else [Finding(f"{number(fps.finite[-1])} steps per second.")]
    whole = sum(seconds.values())
    shares = ", ".join(f"{part} {percent(value / whole)}" for part, value in seconds.items())
    return [Finding(f"A mean update takes {number(whole)} s: {shares}.")]
