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

"""What a comparison does with its hours."""

from __future__ import annotations

import pytest

from monai_sscm.study.budget import choose

PLAN = {"minutes": 45.0, "max_epochs": 60, "epoch_length": 50}


@pytest.mark.parametrize("hours", [2, 4, 8, 20, 100])
@pytest.mark.parametrize("patients", [2, 3, 5, 8, 40])
@pytest.mark.parametrize("has_test", [False, True])
def test_what_is_chosen_fits_into_the_hours(hours, patients, has_test):
    choice = choose(patients, has_test, hours=hours, **PLAN)
    pairs = choice.num_folds * choice.num_seeds
    assert choice.minutes == pytest.approx(2 * pairs * (45 * choice.max_epochs / 60 + 1))
    assert choice.minutes <= 0.8 * 60 * hours
    assert 10 <= choice.max_epochs <= 60  # 500 steps at the least
    assert choice.num_folds == 1 if has_test else min(patients, 5) <= choice.num_folds <= min(patients, 10)
    assert (3 if has_test and patients >= 5 else 1) <= choice.num_seeds <= (3 if patients >= 5 else 1)
    assert f"{patients} patients" in choice.reason


def test_more_hours_give_first_steps_then_folds_then_seeds():
    few, some, many, most = (choose(12, False, hours=hours, **PLAN) for hours in (4, 10, 20, 100))
    assert (few.num_folds, few.num_seeds) == (5, 1) and few.max_epochs < 60
    assert (some.num_folds, some.num_seeds, some.max_epochs) == (5, 1, 60)
    assert (many.num_folds, many.num_seeds, many.max_epochs) == (10, 1, 60)
    assert (most.num_folds, most.num_seeds, most.max_epochs) == (10, 3, 60)
    assert "of the plan's 3000" in few.reason and "of the plan's" not in some.reason


def test_too_few_hours_are_refused_with_a_number_that_suffices():
    with pytest.raises(ValueError, match="--hours") as refused:
        choose(8, False, hours=0.5, **PLAN)
    enough = float(str(refused.value).rpartition("--hours ")[2].rstrip("."))
    assert choose(8, False, hours=enough, **PLAN).max_epochs == 10
    assert choose(8, False, hours=1, minutes=1, max_epochs=2, epoch_length=4).max_epochs == 2  # as the user chose


def test_a_patient_alone_cannot_be_held_out():
    with pytest.raises(ValueError, match="One patient alone has masks"):
        choose(1, False, hours=4, **PLAN)
    assert choose(1, True, hours=4, **PLAN).num_folds == 1
