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
import pytest
import torch

from monai_sscm.metrics import agreement as module
from monai_sscm.metrics import mask_agreement, mean_of_classes


def dice(a: np.ndarray, b: np.ndarray, c: int) -> float:
    both = (a == c).sum() + (b == c).sum()
    return float("nan") if both == 0 else 2 * ((a == c) & (b == c)).sum() / both


@pytest.mark.parametrize("shape", [(7, 9), (5, 6, 7)])
def test_the_mean_dice_of_the_pairs_with_the_mask(shape, monkeypatch):
    monkeypatch.setattr(module, "_PART", 11)  # counted in parts of odd sizes
    random = np.random.RandomState(0)
    mask, *others = (random.randint(0, 4, shape).astype(np.uint8) for _ in range(4))
    found = mask_agreement(torch.from_numpy(mask), [torch.from_numpy(other) for other in others], 5)
    for c in range(4):
        assert found[c] == pytest.approx(np.mean([dice(mask, other, c) for other in others]))
    assert torch.isnan(found[4])
    assert mean_of_classes(found) == pytest.approx(float(found[1:4].mean()))


def test_a_class_that_one_mask_lacks():
    empty, point = torch.zeros(4, 4, dtype=torch.uint8), torch.zeros(4, 4, dtype=torch.uint8)
    point[1, 1] = 1
    assert mask_agreement(empty, [empty, point], 2)[1] == 0  # the pair of empty masks says nothing of the class
    assert mask_agreement(point, [point, empty], 2)[1] == 0.5
    assert torch.isnan(torch.tensor(mean_of_classes(mask_agreement(empty, [empty], 2))))


def test_what_is_wrong_is_refused():
    mask = torch.zeros(4, 4, dtype=torch.uint8)
    with pytest.raises(ValueError, match="needs another mask"):
        mask_agreement(mask, [], 2)
    with pytest.raises(ValueError, match=r"one shape, got \(4, 4\) and \(4,\)"):
        mask_agreement(mask, [mask[0]], 2)
