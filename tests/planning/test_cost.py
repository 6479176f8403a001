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

import pytest

from monai_sscm.planning.cost import halvings, multiple_of, shrink_to


@pytest.mark.parametrize(
    ("size", "spacing", "levels"),
    [
        ((192, 192), (1, 1), [[2, 2]] * 4),
        ((16, 16), (1, 1), [[2, 2]] * 2),
        ((7, 7), (1, 1), [[1, 1]]),
        ((10, 600), (1, 1), [[2, 2], [1, 2], [1, 2], [1, 2]]),
        ((64, 64, 16), (1, 1, 4), [[2, 2, 1], [2, 2, 1], [2, 2, 2], [2, 2, 2]]),
    ],
)
def test_axes_are_halved_as_far_as_they_go(size, spacing, levels):
    assert halvings(size, spacing) == levels


def test_exact_halvings_fit_the_size():
    assert multiple_of(halvings((40, 56, 20), (1, 1, 1), exact=True)) == [8, 8, 4]


def test_a_patch_is_cut_where_it_is_longest_in_space():
    assert shrink_to((100, 100, 100), (1, 1, 4), 50**3) == [64, 80, 20]
    x, y = shrink_to((2000, 100), (1, 1), 20_000)
    assert x * y <= 20_000 and y >= 80
