"""What a run's own numbers say of the actor's steps."""

import numpy as np

from sb3_trpo.report.findings import FEWEST_ROWS, Finding, late, number, percent
from sb3_trpo.report.logs import at_common_steps
from sb3_trpo.report.runs import Run, bound, kl_utilization, realised_kl


def of_kl(run: Run) -> list[Finding]:
    """
    Judge the searches: how many found no step, and why that is so.

    :param run: any
    :return: what there is to say
    """
    success, kl = run.series("train/is_line_search_success"), realised_kl(run)
    if kl is None:
        return []
    if success is None:
        return [
            Finding(f"Median KL of an update {number(float(np.median(kl.finite)))}; no search.")
        ]
    delta = bound(run)
    idle = 0
    if delta is not None:
        _, taken, limit = at_common_steps(success, delta)
        idle = int(((taken == 0) & (limit <= 0)).sum())
    values = success.finite
    rejected, count = int((values == 0).sum()) - idle, len(values)
    said = f"{rejected} of {count} updates logged found no step ({percent(rejected / count)})."
    if idle:
        said += f" In {idle} more the schedule of δ allowed none."
    if count < FEWEST_ROWS or rejected <= 0.1 * count:
        return [Finding(said)]
    return [Finding(f"{said} {_why_searches_fail(run)}", worth_a_look=True)]


def _why_searches_fail(run: Run) -> str:
    causes = ["The search fails often."]
    residual = run.series("train/cg_residual")
    if residual is not None and np.median(residual.finite) > 0.1:
        median = number(float(np.median(residual.finite)))
        causes.append(f"The direction is poor: the median CG residual is {median}.")
    samples = (run.number("n_steps") or 0) * (run.number("n_envs") or 1)
    if 0 < samples < 1000:
        causes.append(f"An update has only {number(samples)} samples: raise n_steps or n_envs.")
    explained = run.series("train/explained_variance")
    if explained is not None and np.median(late(explained)) < 0.1:
        causes.append("The critic explains little, so that advantages are noise.")
    if len(causes) == 1:
        causes.append("Usual causes: too few samples, a critic that does not fit, little damping.")
    return " ".join(causes)


def of_utilization(run: Run) -> list[Finding]:
    """
    Judge how much of δ the updates that moved the policy took.

    :param run: any
    :return: what there is to say
    """
    series = kl_utilization(run)
    if series is None:
        return []
    moved = series.finite[series.finite > 0]
    if not len(moved):
        return [Finding("No update moved the policy.", worth_a_look=True)]
    median = float(np.median(moved))
    said = f"The median of kl/δ is {number(median)} over the {len(moved)} updates that moved."
    above = (moved > 1.001).mean()
    if len(moved) < FEWEST_ROWS:
        return [Finding(said)]
    if above > 0.02:
        why = (
            "PPO stops an update only after target_kl is passed."
            if run.algorithm.startswith("PPO")
            else "In TRPO δ is a bound: were target_kl and the log of one run?"
        )
        return [Finding(f"{said} {percent(above)} lie above δ. {why}", worth_a_look=True)]
    if median < 0.5:
        return [Finding(f"{said} δ is never reached. {_why_short(run)}", worth_a_look=True)]
    return [Finding(said)]


def _why_short(run: Run) -> str:
    if run.algorithm == "TRPO (sb3_contrib)":
        return "sb3_contrib's damping shortens the step, and its search only shrinks it further."
    if run.hyperparameters.get("match_kl") == "False":
        return "match_kl=False takes the first trial that passes: try match_kl=True."
    trials, most = run.series("train/line_search_steps"), run.number("line_search_max_iter")
    if trials is not None and most and np.median(trials.finite) >= most:
        return f"The search ends at line_search_max_iter ({number(most)}): allow more trials."
    return (
        "The surrogate stops rising before δ: its gain is noise there. More samples per update "
        "(n_steps, n_envs), a better critic, or a smaller target_kl."
    )


def of_cg(run: Run) -> list[Finding]:
    """
    Judge whether the solves came to an end.

    :param run: any
    :return: what there is to say
    """
    residual, iterations = run.series("train/cg_residual"), run.series("train/cg_iterations")
    if residual is None or iterations is None:
        return []
    median = float(np.median(residual.finite))
    most = run.number("cg_max_steps") or float(iterations.finite.max())
    capped = float((iterations.finite >= most).mean())
    said = (
        f"Median residual {number(median)} after {number(float(np.median(iterations.finite)))} "
        f"iterations; {percent(capped)} of the solves used all {number(most)}."
    )
    if len(residual.finite) < FEWEST_ROWS or median <= 0.1:
        return [Finding(said)]
    cure = (
        f"Raise cg_max_steps ({number(most)}) or cg_damping."
        if capped > 0.5
        else "The solves stopped early: little curvature, or rounding; raise cg_damping."
    )
    return [
        Finding(f"{said} The direction is not the natural gradient yet. {cure}", worth_a_look=True)
    ]


def of_improvement(run: Run) -> list[Finding]:
    """
    Judge how straight the way was.

    :param run: any
    :return: what there is to say
    """
    series = run.series("train/improvement_ratio")
    if series is None:
        return []
    moved = series.finite[series.finite != 0]
    if not len(moved):
        return [Finding("No update moved the policy.", worth_a_look=True)]
    median = float(np.median(moved))
    said = f"The median step gained {number(median)} of what its gradient promised."
    if len(moved) < FEWEST_ROWS or median >= 0.5:
        return [Finding(said)]
    return [Finding(f"{said} The step bends: try a smaller target_kl.", worth_a_look=True)]


def of_skips(run: Run) -> list[Finding]:
    """
    Say how many updates were skipped, and for what reasons.

    :param run: any
    :return: what there is to say
    """
    series = run.series("train/update_skipped")
    if series is None or series.finite.max() == 0:
        return []
    words = [text for _, text in run.log.texts.get("train/skip_reason", ())]
    reasons = "; ".join(f"{text} ({words.count(text)})" for text in dict.fromkeys(words))
    said = f"{number(series.finite.max())} updates were skipped."
    return [Finding(f"{said} Reasons logged: {reasons or 'none'}.", worth_a_look=True)]
