"""The panels of the page: what each shows, and what to look at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sb3_trpo.report import learning_advice, marks, step_advice
from sb3_trpo.report.findings import Finding
from sb3_trpo.report.logs import Series
from sb3_trpo.report.runs import (
    Run,
    entropy,
    kl_utilization,
    over_time,
    realised_kl,
    training_return,
)
from sb3_trpo.report.theme import Palette

Curve = Callable[[Run], Series | None]
Mark = Callable[[Axes, Sequence[Run], Palette], None]


@dataclass(frozen=True)
class Chart:
    """
    One pair of axes with a line a run.

    :param label: of the y axis, and of the quantity in the table of values
    :param curve: the line of a run; None: it has none
    :param scale: "auto" is logarithmic where the runs are far apart
    :param references: heights of lines that help the eye; 0 has the axis begin there
    :param window: lowest and highest value drawn at most; what lies outside is counted
    :param mark: draws what is no line
    """

    label: str
    curve: Curve
    scale: str = "linear"
    references: tuple[float, ...] = ()
    window: tuple[float, float] = (float("-inf"), float("inf"))
    mark: Mark | None = None


@dataclass(frozen=True)
class Panel:
    """
    One card of the page.

    :param id: in links and names of files
    :param title: its heading
    :param guide: what to look at, in plain words
    :param charts: one above the other
    :param findings: what a run's own numbers say
    :param x: of all its charts
    :param bars: draws what is not over steps above the charts; tells how high it is, in inches
    :param key: what its marks mean, where these runs have them
    """

    id: str
    title: str
    guide: str
    charts: tuple[Chart, ...]
    findings: Callable[[Run], list[Finding]]
    x: str = "steps"
    bars: Callable[[Figure | None, Sequence[Run], Palette], float] | None = None
    key: Callable[[Sequence[Run]], str] = lambda runs: ""  # noqa: ARG005

    def shows(self, runs: Sequence[Run]) -> bool:
        """
        Tell whether there is anything to draw.

        :param runs: of the page
        :return: False: none of them logs what the panel is about
        """
        return any(chart.curve(run) is not None for chart in self.charts for run in runs)


def logged(*keys: str) -> Curve:
    """Make the curve of a key of the log, the first that is there."""
    return lambda run: run.series(*keys)


def skipped(run: Run) -> Series | None:
    """
    Return how many updates were skipped so far.

    :param run: any
    :return: None: no update was
    """
    series = run.series("train/update_skipped")
    return series if series is not None and series.finite.max() > 0 else None


PANELS = (
    Panel(
        "return_steps",
        "Return over steps",
        "The mean return of the last hundred training episodes, and what it cost in experience. "
        "A line that rises and levels off has learned what it can; one that never leaves its start "
        "has a critic that does not fit, steps that are too small, or rollouts too short for the "
        "noise; one that falls after its best takes steps that are too long (lower target_kl).",
        (Chart("return", training_return, mark=marks.evaluations_and_spread),),
        learning_advice.of_return,
        key=marks.key_of_return,
    ),
    Panel(
        "return_time",
        "Return over time",
        "The same against seconds of training, pauses between sessions left out. Where the order "
        "of the runs differs from that over steps, speed decides and not the algorithm: see where "
        "the time went.",
        (Chart("return", lambda run: over_time(run, training_return(run))),),
        learning_advice.of_duration,
        x="seconds",
    ),
    Panel(
        "kl",
        "Realised KL against δ",
        "How far each update moved the policy, and how far it might (δ, target_kl: dotted). In "
        "TRPO the line stays below δ and close to it. Far below: δ is never reached. Many "
        "rejected updates: the search fails, and the policy stands still. PPO has no such bound: "
        "its line shows the step it happens to take. sb3_contrib's TRPO takes the mean over the "
        "dimensions of a continuous action, where the others take the sum.",
        (
            Chart(
                "KL, nats",
                realised_kl,
                scale="auto",
                references=(0.0,),
                mark=marks.bound_and_outcomes,
            ),
        ),
        step_advice.of_kl,
        key=marks.key_of_kl,
    ),
    Panel(
        "kl_utilization",
        "KL utilization",
        "Realised KL / δ: how much of the allowed step is taken. About 0.97 is what match_kl=True "
        "aims at; a search that only shortens (match_kl=False, sb3_contrib) leaves less, and one "
        "that takes a quarter of δ wastes three quarters of the data.",
        (Chart("realised KL / δ", kl_utilization, references=(0.0, 1.0), window=(-0.03, 3.0)),),
        step_advice.of_utilization,
    ),
    Panel(
        "cg",
        "Conjugate gradient",
        "Whether the step's direction was found: the relative residual of the solve, and the "
        "iterations it took. A residual above 0.1 with all iterations used up means a direction "
        "that is closer to the plain gradient: more cg_max_steps, or more cg_damping.",
        (
            Chart("residual", logged("train/cg_residual"), scale="log"),
            Chart("iterations", logged("train/cg_iterations"), references=(0.0,)),
        ),
        step_advice.of_cg,
    ),
    Panel(
        "improvement",
        "Improvement ratio",
        "What the surrogate gained, over what the gradient promised. Near 1: the step is short "
        "enough to be straight, and δ may grow. Below one half: it goes far round the bend: a "
        "smaller target_kl. Near 0: the surrogate's gain is noise.",
        (
            Chart(
                "actual / expected",
                logged("train/improvement_ratio"),
                references=(0.0, 1.0),
                window=(-0.5, 2.0),
            ),
        ),
        step_advice.of_improvement,
    ),
    Panel(
        "explained_variance",
        "Explained variance",
        "How much of the returns the value function foresaw: 1 all, 0 no more than a constant, "
        "below 0 less than that. Where it stays near 0 the critic is not fitting, and advantages "
        "are noise: more n_critic_updates (n_epochs in PPO), another learning_rate, rewards scaled "
        "by VecNormalize, or observations that do not tell what is coming. Returns that are all "
        "alike (every episode at its time limit) leave nothing to explain: low values are harmless "
        "then.",
        (
            Chart(
                "explained variance",
                logged("train/explained_variance"),
                references=(0.0, 1.0),
                window=(-1.0, 1.0),
            ),
        ),
        learning_advice.of_explained_variance,
    ),
    Panel(
        "entropy",
        "Entropy and standard deviation",
        "How much the policy still tries. Both fall as it learns. A fall before the return rises: "
        "it settled too early (ent_coef, a higher log_std_init). A rise: nothing to learn was "
        "found, or ent_coef outweighs the return. The entropy of continuous actions may be "
        "negative.",
        (
            Chart("entropy, nats", entropy),
            Chart("std of actions", logged("train/std"), scale="auto", references=(0.0,)),
        ),
        learning_advice.of_entropy,
    ),
    Panel(
        "time",
        "Where the time went",
        "Seconds of a mean update by its parts, where the algorithm logs them, and steps per "
        "second since the start. Mostly rollouts: environments are the limit (more of them, "
        "EnvPool). Mostly critic: fewer n_critic_updates or a larger batch_size. Mostly policy: "
        "sub_sampling_factor, fewer cg_max_steps.",
        (Chart("steps / second", logged("time/fps"), references=(0.0,)),),
        learning_advice.of_time,
        bars=marks.phase_bars,
    ),
    Panel(
        "skipped",
        "Skipped updates",
        "Updates left out as a whole for a number that was not finite, so far. One may pass; many "
        "come from rewards or observations that overflow, and three in a row stop the training.",
        (Chart("skipped so far", skipped),),
        step_advice.of_skips,
    ),
)
"""In the order of the page."""
