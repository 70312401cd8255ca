"""Runs are told apart, by colour-blind readers, too."""

import numpy as np
import pytest

from sb3_trpo.report.theme import DARK, LIGHT, dashes


def luminance(colour):
    channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(channels <= 0.03928, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize(("paper", "colours"), [("#ffffff", LIGHT), ("#171b21", DARK)])
def test_lines_stand_out_from_the_page(paper, colours):
    for colour in colours:
        low, high = sorted([luminance(paper), luminance(colour)])
        assert (high + 0.05) / (low + 0.05) >= 3, colour


def test_runs_of_one_colour_differ_in_their_dashes():
    signs = {(number % len(LIGHT), dashes(number)) for number in range(36)}
    assert len(signs) == 36


def test_no_run_is_dotted_as_delta_is():
    for number in range(36):
        lengths = [float(length) for length in dashes(number).split()]
        assert not lengths or max(lengths) > 2
