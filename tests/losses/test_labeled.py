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


"""The supervised loss is MONAI's where all is labelled, and knows nothing of what is not."""

from __future__ import annotations

import pytest
import torch
from monai.losses import DeepSupervisionLoss, DiceCELoss

from monai_sscm.losses import LabeledDiceCELoss
from monai_sscm.transforms import IGNORED

SIZES = [(12, 10), (8, 6, 10)]


def make(spatial, classes=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    pred = 3 * torch.randn((3, classes, *spatial), generator=g)
    target = torch.randint(0, classes, (3, 1, *spatial), generator=g, dtype=torch.uint8)
    target[0] = 0  # an image without any class but the background
    return pred.requires_grad_(), target


@pytest.mark.parametrize("spatial", SIZES)
@pytest.mark.parametrize("classes", [2, 5])
def test_monai_s_where_all_is_labeled(spatial, classes):
    pred, target = make(spatial, classes)
    ours, theirs = LabeledDiceCELoss()(pred, target), DiceCELoss(to_onehot_y=True, softmax=True)(pred, target)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    gradients = [torch.autograd.grad(loss, pred)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-8)
    one_hot = torch.nn.functional.one_hot(target[:, 0].long(), classes).movedim(-1, 1)
    assert torch.equal(LabeledDiceCELoss()(pred, one_hot), ours)


@pytest.mark.parametrize("spatial", SIZES)
def test_what_is_not_labeled_might_as_well_not_be_there(spatial):
    pred, target = make(spatial)
    target[:, :, ::2] = IGNORED
    loss = LabeledDiceCELoss()(pred, target)
    kept = DiceCELoss(to_onehot_y=True, softmax=True)(pred[:, :, 1::2], target[:, :, 1::2])
    torch.testing.assert_close(loss, kept, rtol=1e-6, atol=1e-6)
    gradient = torch.autograd.grad(loss, pred)[0]
    assert gradient[:, :, ::2].abs().max() == 0 and gradient[:, :, 1::2].abs().min() > 0
    other = pred.detach().clone()
    other[:, :, ::2] = torch.randn_like(other[:, :, ::2])
    assert torch.equal(LabeledDiceCELoss()(other, target), loss)


@pytest.mark.parametrize("spatial", SIZES)
def test_an_image_without_labels_and_a_batch_of_them(spatial):
    pred, target = make(spatial)
    target[1] = IGNORED
    gradient = torch.autograd.grad(LabeledDiceCELoss()(pred, target), pred)[0]
    assert gradient.isfinite().all() and gradient[1].abs().max() == 0 and gradient[2].abs().min() > 0
    nothing = LabeledDiceCELoss()(pred, torch.full_like(target, IGNORED))
    assert float(nothing.detach()) == 0 and torch.autograd.grad(nothing, pred)[0].abs().max() == 0


@pytest.mark.parametrize("spatial", [(12, 8), (8, 8, 4)])
def test_deep_supervision(spatial):
    pred, target = make(spatial)
    small = torch.randn(3, 3, *(n // 2 for n in spatial), requires_grad=True)
    ours = DeepSupervisionLoss(LabeledDiceCELoss())
    theirs = DeepSupervisionLoss(DiceCELoss(to_onehot_y=True, softmax=True))
    torch.testing.assert_close(ours([pred, small], target), theirs([pred, small], target))
    target[:, :, : spatial[0] // 2] = IGNORED
    loss = ours([pred, small], target)
    gradient = torch.autograd.grad(loss, small)[0]
    half = spatial[0] // 4
    assert gradient[:, :, :half].abs().max() == 0 and gradient[:, :, half:].abs().min() > 0


def test_under_autocast_sums_are_exact():
    pred, target = make((64, 64))
    with torch.autocast("cpu", torch.bfloat16):
        loss = LabeledDiceCELoss()(pred.bfloat16(), target)
    torch.testing.assert_close(loss, LabeledDiceCELoss()(pred.bfloat16().float(), target))


def test_refused_shapes():
    pred, target = make((12, 10))
    for wrong in ((pred, target[..., :4]), (pred[:, :1], target), (pred, pred[:, :2])):
        with pytest.raises(ValueError, match="must"):
            LabeledDiceCELoss()(*wrong)
