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

import pytest
import torch

from monai_sscm.metrics import hausdorff_95


@pytest.mark.parametrize("shape", [(12, 10), (12, 10, 1), (1, 12, 10)])
def test_axes_of_length_1_are_left_out(shape):
    """Or every pixel of an object in a single slice would be its outline."""
    square, larger = torch.zeros(2, 12, 10, dtype=torch.bool)
    square[4:7, 4:7] = True
    larger[2:9, 2:9] = True
    spacing = [2.0 if n == 12 else 3.0 for n in shape]
    masks = [x.reshape(shape) for x in (square, larger)]
    # from the corner (2, 2) to (4, 4), in pixels and in mm
    assert hausdorff_95(*masks) == pytest.approx(math.hypot(2, 2))
    assert hausdorff_95(*masks, spacing) == pytest.approx(math.hypot(4, 6))


def test_an_empty_mask_has_no_distance():
    nothing, something = torch.zeros(2, 5, 5, dtype=torch.bool)
    something[1, 1] = True
    for pair in ((nothing, something), (something, nothing), (nothing, nothing)):
        assert math.isnan(hausdorff_95(*pair))
