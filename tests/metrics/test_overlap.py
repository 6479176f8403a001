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
import torch

from monai_sscm.metrics import confusion_matrix, dice_per_class, iou_per_class


def test_a_class_that_is_missed_counts_as_zero():
    matrix = torch.tensor([[5, 0], [3, 0]])
    assert iou_per_class(matrix).tolist() == [5 / 8, 0] and dice_per_class(matrix).tolist() == [10 / 13, 0]


def test_ignored_pixels_do_not_count():
    label, pred = torch.tensor([[0, 255], [1, -100]]), torch.tensor([[0, 1], [0, 1]])
    assert confusion_matrix(label, pred, 2).tolist() == [[1, 0], [1, 0]]


def test_confusion_matrices_add_up():
    label, pred = (torch.from_numpy(np.random.default_rng(i).integers(0, 3, (4, 50))) for i in (0, 1))
    total = confusion_matrix(label, pred, 3)
    assert torch.equal(total, sum(confusion_matrix(a, b, 3) for a, b in zip(label, pred, strict=True)))
    iou, dice = iou_per_class(total), dice_per_class(total)
    torch.testing.assert_close(dice, 2 * iou / (1 + iou))
