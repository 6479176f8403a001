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

import numpy as np

from monai_sscm.review import choose


def second_way(features, known, agreement, number):
    """Without patients, a choice at a time, as it is described."""
    scale = features.std(0)
    points, near = (features - features.mean(0)) / scale, [*(known - features.mean(0)) / scale]
    chosen = []
    for _ in range(number):
        scores = [
            -1 if i in chosen else (1 - agreement[i]) * min(np.sqrt(((p - q) ** 2).sum()) for q in near)
            for i, p in enumerate(points)
        ]
        chosen.append(int(np.argmax(scores)))
        near.append(points[chosen[-1]])
    return chosen


def test_a_second_way():
    random = np.random.RandomState(0)
    features, known, agreement = random.randn(30, 4), random.randn(3, 4), random.rand(30)
    found = choose(features, known, agreement, [str(i) for i in range(30)], 8)
    assert [i for i, _, _ in found] == second_way(features, known, agreement, 8)


def test_other_patients_first():
    features = np.array([[9.0], [8.0], [1.0], [2.0]])
    found = choose(features, np.zeros((1, 1)), [0.5] * 4, ["p", "p", "q", "q"], 9)
    assert [i for i, _, _ in found][:2] == [0, 3] and sorted(i for i, _, _ in found) == [0, 1, 2, 3]


def test_masks_without_a_class_and_features_that_are_all_alike():
    nan = float("nan")
    features = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
    assert choose(features, np.array([[0.0, 5.0]]), [nan, 0.5, 0.99], ["a", "b", "c"], 1)[0][0] == 1
    assert len(choose(features, np.array([[0.0, 9.0]]), [nan] * 3, ["a", "b", "c"], 2)) == 2
