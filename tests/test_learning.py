"""Learning, end to end; learning_seeds.csv records how each setting did on other seeds."""

import csv

import pytest
import torch as th

from tests.learning_tasks import RECORD, TASKS, score, train

SEED = 0
QUICK = ["cartpole", "bit_flipping", "multi_discrete", "dict"]
LONG = ["pendulum", "image"]


@pytest.mark.parametrize("name", QUICK)
def test_task_is_learnt(name):
    task = TASKS[name]
    assert score(train(task, SEED), SEED) >= task.threshold


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
def test_long_task_is_learnt(name):
    task = TASKS[name]
    assert score(train(task, SEED), SEED) >= task.threshold


def test_a_third_of_pendulum_already_shows():
    task = TASKS["pendulum"]
    assert score(train(task, SEED, task.short_steps), SEED) >= task.short_threshold


def test_a_start_of_the_image_task_moves_the_policy_within_the_trust_region():
    task = TASKS["image"]
    model = train(task, SEED, 2048)
    log = model.logger.name_to_value
    assert log["train/is_line_search_success"] == 1
    assert 0 < log["train/kl_divergence_loss"] <= log["train/target_kl"]


@pytest.mark.slow
def test_the_image_task_needs_learnt_features():
    task = TASKS["image"]
    model = train(task, SEED, 0)
    for parameter in model.policy.features_extractor.parameters():
        parameter.requires_grad_(False)
    before = [p.clone() for p in model.policy.features_extractor.parameters()]
    model.learn(task.steps)
    after = model.policy.features_extractor.parameters()
    assert all(th.equal(old, new) for old, new in zip(before, after, strict=True))
    assert score(model, SEED) < task.threshold


@pytest.mark.parametrize("name", TASKS)
def test_setting_has_passed_on_twenty_seeds(name):
    """The record belongs to the setting and the threshold as they stand."""
    with RECORD.open(newline="") as file:
        rows = [row for row in csv.reader(file) if row[0] == name]
    task = TASKS[name]
    passed = {row[1] for row in rows if float(row[3]) >= task.threshold}
    assert len(passed) >= 20
    assert all(row[2] == task.digest() for row in rows)
    assert all(float(row[3]) >= task.threshold for row in rows)
