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

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from monai_sscm.metrics import Calibration, fit_calibration


def test_the_error_is_that_of_leaving_each_image_out():
    random = np.random.RandomState(0)
    agreement = random.rand(15)
    dice = 0.3 + 0.6 * agreement + 0.05 * random.randn(15)
    found = fit_calibration([*agreement, math.nan, 0.5], [*dice, 0.5, math.nan])
    assert isinstance(found, Calibration) and found.images == 15
    errors = []
    for i in range(15):
        rest = np.arange(15) != i
        slope, offset = np.polyfit(agreement[rest], dice[rest], 1)
        errors.append(abs(slope * agreement[i] + offset - dice[i]))
    assert found.error == pytest.approx(np.mean(errors))
    assert found(0.5) == pytest.approx(0.6, abs=0.05)
    assert math.isnan(found(math.nan))


@pytest.mark.parametrize(
    ("agreement", "dice", "reason"),
    [
        ([0.1] * 7, [0.1] * 7, "there are 7 validation images"),
        ([0.1] * 9, list(range(9)), "the same agreement"),
        (list(range(9)), list(range(9))[::-1], "does not follow Dice .rank correlation -1.00."),
    ],
)
def test_where_agreement_says_nothing(agreement, dice, reason):
    found = fit_calibration(agreement, dice)
    assert isinstance(found, str) and re.search(reason, found)
