# Copyright (c) monai_sscm contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""The rule of the verdict: its sums a second way, and how often it is wrong on made-up scores."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from monai_sscm.study import judge, patient_differences
from tests.helpers.study_results import PATIENT_OF, result_row


def by_patient(matrix: np.ndarray) -> dict[str, dict[int, float]]:
    """Differences of patients in rows and seeds in columns."""
    return {f"p{i:02d}": {s: float(x) for s, x in enumerate(row)} for i, row in enumerate(matrix)}


def one_each(count: int) -> dict[str, int]:
    return {f"p{i:02d}": i for i in range(count)}


def test_folds_of_one_patient_give_the_corrected_t_interval():
    gains = np.array([1.0, 2.5, -0.5, 3.0, 4.0, 1.5])
    found = judge(by_patient(gains[:, None]), one_each(6))
    error = np.sqrt((1 / 6 + 1 / 5) * gains.var(ddof=1))  # Nadeau and Bengio: 1 / folds + scored / trained on
    half = t.ppf(0.975, 5) * error
    assert found.interval == pytest.approx((gains.mean() - half, gains.mean() + half))
    assert found.counts == "5 of 6 folds"
    # fewer folds than were planned: the share of a fold stays
    found = judge(by_patient(gains[:5, None]), one_each(5), num_folds=6)
    half = t.ppf(0.975, 4) * np.sqrt((1 / 5 + 1 / 5) * gains[:5].var(ddof=1))
    assert found.interval == pytest.approx((gains[:5].mean() - half, gains[:5].mean() + half))


def test_patients_of_a_fold_count_once():
    """Ten patients in five folds, whose patients are all alike, know no more than five."""
    gains = np.array([1.0, 2.5, -0.5, 3.0, 4.0])
    twice = judge(by_patient(np.repeat(gains, 2)[:, None]), {f"p{i:02d}": i // 2 for i in range(10)})
    assert twice.interval == pytest.approx(judge(by_patient(gains[:, None]), one_each(5)).interval)
    assert twice.counts == "4 of 5 folds and 8 of 10 patients"


def test_test_patients_and_seeds_both_vary():
    matrix = np.array([[1, 2, 1], [2, 4, 3], [0, 1, 0], [3, 3.5, 3], [1, 0.5, 1], [2, 2, 2]])
    found = judge(by_patient(matrix))
    of_patients = t.ppf(0.975, 5) ** 2 * matrix.mean(1).var(ddof=1) / 6
    half = np.sqrt(of_patients + t.ppf(0.975, 2) ** 2 * matrix.mean(0).var(ddof=1) / 3)
    assert found.interval == pytest.approx((matrix.mean() - half, matrix.mean() + half))
    assert judge(by_patient(np.full((5, 3), 1.0))).outcome == "ahead"  # nothing varies at all
    assert judge(by_patient(np.zeros((5, 3)))).outcome == "not shown"


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_few_patients_show_nothing_whatever_comes_out(count):
    huge = np.full((count, 3), 30.0)
    for found in (judge(by_patient(huge), one_each(count)), judge(by_patient(huge))):
        assert found.interval is None and found.outcome == "not shown"
        assert f"{count} patient" in found.too_few and found.headline.startswith(f"Not shown with {count} patient")
        assert "interval" not in found.headline


def test_few_seeds_on_test_patients_and_few_folds_have_no_interval():
    many = np.full((20, 1), 5.0)
    assert judge(by_patient(many)).too_few.startswith("1 seed cannot")
    assert judge(by_patient(np.full((20, 2), 5.0))).too_few.startswith("2 seeds cannot")
    in_folds = judge(by_patient(many), {f"p{i:02d}": i % 3 for i in range(20)})
    assert in_folds.too_few.startswith("only 3 folds") and in_folds.outcome == "not shown"
    with pytest.raises(ValueError, match="nothing to compare"):
        judge({})


def share_of(outcomes: tuple[str, ...], draw, fold_of, trials: int = 1500) -> float:
    random = np.random.RandomState(1)
    return float(np.mean([judge(by_patient(draw(random)), fold_of).outcome in outcomes for _ in range(trials)]))


def in_turn(count: int, gain: float = 0.0, skewed: bool = False):
    """
    Differences of patients held out in turn, of spread 3, whose errors are as alike as trainings that share images are.
    """

    def draw(random: np.random.RandomState) -> np.ndarray:
        own = random.exponential(1, count) - 1 if skewed else random.normal(0, 1, count)
        return (gain + 3 * (np.sqrt(1 - 1 / count) * own + np.sqrt(1 / count) * random.normal()))[:, None]

    return draw


@pytest.mark.parametrize("count", [5, 10])
@pytest.mark.parametrize(("skewed", "most"), [(False, 0.05), (True, 0.11)])
def test_where_nothing_helps_a_claim_is_rare(count, skewed, most):
    """As the docstring says; three standard errors of so many trials are added."""
    share = share_of(("ahead", "behind"), in_turn(count, skewed=skewed), one_each(count))
    assert share < most + 3 * np.sqrt(most * (1 - most) / 1500)


def test_without_the_correction_claims_would_be_too_many():
    random = np.random.RandomState(0)
    draw, wrong = in_turn(5), 0
    for _ in range(2000):
        gains = draw(random)[:, 0]
        wrong += abs(gains.mean()) > t.ppf(0.975, 4) * gains.std(ddof=1) / np.sqrt(5)
    assert wrong / 2000 > 0.08


def test_a_large_gain_is_shown_and_never_called_a_loss():
    assert share_of(("ahead",), in_turn(5, gain=10.0), one_each(5), 500) > 0.9
    assert share_of(("ahead",), in_turn(10, gain=5.0), one_each(10), 500) > 0.9
    assert share_of(("behind",), in_turn(10, gain=-5.0), one_each(10), 500) > 0.9
    assert share_of(("behind",), in_turn(5, gain=5.0), one_each(5), 500) < 0.005


def test_on_test_patients_claims_are_rare_where_seeds_alone_differ():
    """The seeds' own spread would be called a gain if patients alone were counted."""

    def draw(random: np.random.RandomState) -> np.ndarray:
        return random.normal(0, 2, (8, 1)) + random.normal(0, 2, (1, 3)) + random.normal(0, 1, (8, 3))

    assert share_of(("ahead", "behind"), draw, None) < 0.05
    assert share_of(("ahead",), lambda random: draw(random) + 12, None, 300) > 0.9


def test_dice_of_patients_is_that_of_all_their_pixels():
    ours, other = result_row("supmix_sufd", 0, better=20), result_row("supervised", 0)
    found = patient_differences([ours], [other])
    assert set(found) == set(PATIENT_OF.values())
    for patient in "abc":
        dice = []
        for row in (ours, other):
            matrix = sum(np.array(m) for i, m in row["images"].items() if PATIENT_OF[i] == patient)
            dice.append(200 * matrix[1, 1] / (2 * matrix[1, 1] + matrix[0, 1] + matrix[1, 0]))
        assert found[patient] == {0: pytest.approx(dice[0] - dice[1])}
    assert patient_differences([ours], [result_row("supervised", 1)]) == {}


def test_a_class_that_is_nowhere_is_left_out_and_a_false_one_counts():
    def row(matrix: list[list[int]]) -> dict:
        return {"seed": 0, "patients": {"x": "x"}, "images": {"x": matrix}}

    nowhere = row([[90, 0, 0], [0, 10, 0], [0, 0, 0]])
    false = row([[80, 0, 10], [0, 10, 0], [0, 0, 0]])
    assert patient_differences([nowhere], [nowhere]) == {"x": {0: 0.0}}
    assert patient_differences([nowhere], [false]) == {"x": {0: 50.0}}  # 0 in one class, 100 in the other
    empty = row([[100, 0, 0], [0, 0, 0], [0, 0, 0]])
    assert patient_differences([empty], [empty]) == {}
