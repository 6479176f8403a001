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

from itertools import product

import numpy as np
import pytest

from monai_sscm.study import difference, mean_iou
from tests.helpers.study_results import PATIENT_OF, ROWS


def iou(matrix: np.ndarray) -> float:
    """Another way: pixel counts by hand."""
    return 50 * sum(matrix[c, c] / (matrix[c].sum() + matrix[:, c].sum() - matrix[c, c]) for c in (0, 1))


def test_a_difference_is_paired_by_seed():
    found = difference(ROWS, "supmix_sufd", "classmix", 2)
    assert found is not None and list(found.of_seed) == [0, 1]
    for seed, value in found.of_seed.items():
        sums = {
            name: sum(np.array(m) for r in ROWS if r["method"] == name and r["seed"] == seed and r["num_labeled"] == 2
                      for m in r["images"].values())
            for name in ("supmix_sufd", "classmix")
        }  # fmt: skip
        assert value == pytest.approx(iou(sums["supmix_sufd"]) - iou(sums["classmix"]))
    assert found.mean == pytest.approx(np.mean(list(found.of_seed.values())))
    low, high = found.interval
    assert 0 < low < found.mean < high
    assert difference(ROWS, "supmix_sufd", "cutmix", 2) is None


def test_whole_patients_are_drawn_the_same_for_all_seeds_and_both_methods():
    """Three patients and two seeds leave few outcomes, all of which can be written down."""
    rows = [r for r in ROWS if r["seed"] < 2 and r["num_labeled"] == 2 and r["method"] != "supervised"]
    found = difference(rows, "supmix_sufd", "classmix", 2)
    of_patient = {
        (r["method"], r["seed"], p): sum(np.array(m) for i, m in r["images"].items() if PATIENT_OF[i] == p)
        for r in rows
        for p in "abc"
    }
    possible = set()
    for patients, seeds in product(product("abc", repeat=3), product((0, 1), repeat=2)):
        of_seed = [
            iou(sum(of_patient["supmix_sufd", s, p] for p in patients))
            - iou(sum(of_patient["classmix", s, p] for p in patients))
            for s in seeds
        ]
        possible.add(round(float(np.mean(of_seed)), 6))
    assert {round(float(x), 6) for x in found.replicates} == possible


def test_few_seeds_or_patients_have_no_interval():
    one_seed = [r for r in ROWS if r["seed"] == 0]
    assert difference(ROWS, "supmix_sufd", "classmix", 2).too_few is None
    assert difference(one_seed, "supmix_sufd", "classmix", 2).too_few == "none: 1 seed"
    two = [{**r, "patients": {i: min(p, "b") for i, p in PATIENT_OF.items()}} for r in ROWS]
    assert difference(two, "supmix_sufd", "classmix", 2).too_few == "none: 2 patients"
    one = [{**r, "patients": dict.fromkeys(PATIENT_OF, "a")} for r in one_seed]
    assert difference(one, "supmix_sufd", "classmix", 2).too_few == "none: 1 seed and 1 patient"


def test_a_method_equals_itself_and_full_supervision_has_its_own_budget():
    same = difference(ROWS, "supervised", "supervised", 4)
    assert same.mean == 0 and same.interval == (0, 0)
    full = difference(ROWS, "supmix_sufd", "full_supervision", 2, 16)
    assert list(full.of_seed) == [0, 1]
    absent = np.array([[[5, 0, 0], [5, 10, 0], [0, 0, 0]]])
    assert mean_iou(absent) == pytest.approx(100 * (5 / 10 + 10 / 15) / 2)  # the third class is nowhere
