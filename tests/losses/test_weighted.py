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

import numpy as np
import pytest
import torch
from monai.losses import DiceLoss

from monai_sscm.losses import (
    WeightedCELoss,
    WeightedDeepSupervisionLoss,
    WeightedDiceCELoss,
    WeightedDiceLoss,
    WeightedMSELoss,
)
from monai_sscm.transforms import IGNORED

SIZES = [(6, 5), (4, 3, 5)]


def make(spatial, k=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    pred = torch.randn((2, k, *spatial), generator=g, dtype=torch.float64).float()
    target = torch.randint(0, k, (2, 1, *spatial), generator=g)
    weight = torch.rand((2, 1, *spatial), generator=g)
    return pred, target, weight


def one_hot(target, k):
    return torch.nn.functional.one_hot(target[:, 0], k).movedim(-1, 1)


@pytest.mark.parametrize("spatial", SIZES)
def test_cross_entropy_pixel_by_pixel(spatial):
    pred, target, weight = make(spatial)
    total, count = 0.0, 0
    for b in range(2):
        for where in np.ndindex(*spatial):
            logits = pred[(b, slice(None), *where)].double().numpy()
            log_prob = logits - math.log(np.exp(logits).sum())
            total -= float(weight[(b, 0, *where)]) * log_prob[int(target[(b, 0, *where)])]
            count += 1
    assert float(WeightedCELoss()(pred, target, weight)) == pytest.approx(total / count, rel=1e-5)
    assert torch.equal(WeightedCELoss()(pred, one_hot(target, 3), weight), WeightedCELoss()(pred, target, weight))
    half = WeightedCELoss()(pred, target, torch.full_like(weight, 0.5))
    torch.testing.assert_close(half, 0.5 * WeightedCELoss()(pred, target))  # divided by pixels, not by weights


@pytest.mark.parametrize("spatial", SIZES)
def test_dice_is_monai_s_where_all_weights_are_one(spatial):
    pred, target, weight = make(spatial)
    ones = torch.ones_like(weight)
    dice = DiceLoss(softmax=True, to_onehot_y=True, batch=True, smooth_nr=1e-5, smooth_dr=1e-5)(pred, target)
    got = WeightedDiceCELoss()(pred, target, ones) - WeightedCELoss()(pred, target, ones)
    torch.testing.assert_close(got, dice, rtol=1e-4, atol=1e-5)


def test_dice_with_weights_a_second_way():
    pred, target, weight = make((6, 5))
    prob = pred.double().softmax(1).numpy()
    y, w = one_hot(target, 3).numpy(), weight.double().numpy()
    dice = [
        1
        - (2 * (w[:, 0] * prob[:, c] * y[:, c]).sum() + 1e-5)
        / ((w[:, 0] * prob[:, c]).sum() + (w[:, 0] * y[:, c]).sum() + 1e-5)
        for c in range(3)
    ]
    ce = float(WeightedCELoss()(pred, target, weight))
    assert float(WeightedDiceCELoss()(pred, target, weight)) == pytest.approx(np.mean(dice) * w.mean() + ce, rel=1e-4)
    assert float(WeightedDiceLoss()(pred, target, weight)) == pytest.approx(np.mean(dice), rel=1e-4)
    assert float(WeightedDiceLoss()(pred, target, 0.1 * weight)) == pytest.approx(np.mean(dice), rel=1e-3)
    assert float(WeightedDiceCELoss(include_background=False)(pred, target, weight)) == pytest.approx(
        np.mean(dice[1:]) * w.mean() + ce, rel=1e-4
    )


@pytest.mark.parametrize(
    "loss", [WeightedCELoss(), WeightedDiceLoss(), WeightedDiceCELoss(), WeightedMSELoss(use_weight=True)]
)
def test_weight_zero_means_no_gradient(loss):
    pred, target, weight = make((6, 5))
    weight[:, :, :3] = 0
    pred.requires_grad_()
    loss(pred, target, weight).backward()
    assert pred.grad[:, :, :3].abs().max() == 0 and pred.grad[:, :, 3:].abs().min() > 0
    assert float(loss(pred, target, torch.zeros_like(weight))) == 0


@pytest.mark.parametrize("spatial", SIZES)
@pytest.mark.parametrize("loss", [WeightedCELoss(), WeightedDiceLoss(), WeightedDiceCELoss(), WeightedMSELoss()])
@pytest.mark.parametrize("weighted", [True, False])
def test_ignored_pixels_have_no_gradient(loss, spatial, weighted):
    pred, target, weight = make(spatial)
    target[:, :, 1:3] = IGNORED
    pred.requires_grad_()
    value = loss(pred, target, weight if weighted else None)
    value.backward()
    ignored = (target == IGNORED).expand_as(pred)
    assert value.isfinite() and pred.grad[ignored].abs().max() == 0 and pred.grad[~ignored].abs().min() > 0
    other = torch.where(ignored, 5 * pred.detach(), pred.detach())
    assert torch.equal(loss(other, target, weight if weighted else None), value)
    assert float(loss(pred, torch.full_like(target, IGNORED), weight)) == 0


@pytest.mark.parametrize("loss", [cls(ignore_index=2) for cls in (WeightedCELoss, WeightedDiceLoss)])
def test_another_value_may_stand_for_ignored(loss):
    pred, target, weight = make((6, 5))
    assert torch.equal(loss(pred, target, weight), type(loss)()(pred, torch.where(target == 2, 255, target), weight))


def test_mean_squared_error():
    pred, target, weight = make((6, 5))
    prob = torch.rand(2, 3, 6, 5).softmax(1)
    expected = ((pred.double().softmax(1) - prob) ** 2).mean()
    torch.testing.assert_close(WeightedMSELoss()(pred, prob, weight).double(), expected, rtol=1e-4, atol=1e-6)
    hard = WeightedMSELoss()(pred, target, weight)
    torch.testing.assert_close(hard, WeightedMSELoss()(pred, one_hot(target, 3).float()))


def test_deep_supervision():
    pred, target, weight = make((8, 8))
    small = torch.randn(2, 3, 4, 4)
    loss = WeightedDeepSupervisionLoss(WeightedCELoss())
    # nearest-exact takes the second of every two pixels
    expected = WeightedCELoss()(pred, target, weight) + 0.5 * WeightedCELoss()(
        small, target[:, :, 1::2, 1::2], weight[:, :, 1::2, 1::2]
    )
    torch.testing.assert_close(loss([pred, small], target, weight), expected)
    torch.testing.assert_close(loss(pred, target, weight), WeightedCELoss()(pred, target, weight))


@pytest.mark.parametrize("loss", [WeightedCELoss(), WeightedDiceCELoss()])
def test_refused_shapes(loss):
    pred, target, weight = make((6, 5))
    for wrong in (
        (pred, target[..., :4], weight),
        (pred, target, weight[..., :4]),
        (pred, pred[:, :2], weight),
        (pred[:, :1], target, weight),
    ):
        with pytest.raises(ValueError, match="must"):
            loss(*wrong)
