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

"""How a view builds what the student sees, and ramps."""

from __future__ import annotations

import math

import pytest
import torch

from monai_sscm.engines import Ramp, View
from monai_sscm.engines.view import weight_at
from monai_sscm.losses import WeightedCELoss, WeightedMSELoss
from monai_sscm.transforms import SupervisedClassMixd
from tests.helpers.training import KEYS, make_batch, make_batches, make_trainer, supmix


def test_mix_that_writes_elsewhere():
    mix = SupervisedClassMixd(KEYS, ("image", "label", None), "label", (1,), 2, 2)
    with pytest.raises(ValueError, match="output_keys"):
        make_trainer(make_batches(1), views=[View(mix=mix, loss=WeightedCELoss())]).run()


def test_view_checks_itself():
    with pytest.raises(ValueError, match="mixed_label"):
        View(mix=supmix(), loss=WeightedMSELoss(), target="pseudo_prob")
    with pytest.raises(ValueError, match="loss"):
        View()
    with pytest.raises(ValueError, match="target"):
        View(loss=WeightedCELoss(), target="label")
    assert Ramp(1.5)(0) == 1.5 and Ramp(1.0, 10)(0) == pytest.approx(math.exp(-5))


def test_a_view_builds_what_the_student_sees():
    batch = make_batch(0)
    pseudo_label = torch.zeros_like(batch["unlabeled_image"]).long()
    batch |= {"pseudo_label": pseudo_label, "pseudo_weight": torch.full_like(batch["unlabeled_image"], 0.5)}
    plain = View(loss=WeightedCELoss()).build(batch)
    assert plain["image"] is batch["unlabeled_image"] and plain["target"] is pseudo_label and plain["mask"] is None
    mixed = View(mix=supmix(), augment=lambda image: image + 100, loss=WeightedCELoss()).build(batch)
    assert torch.equal(mixed["target"], batch["label"]) and torch.equal(mixed["mask"], batch["label"].bool())
    assert (mixed["image"] >= 100).all() and (mixed["weight"][mixed["mask"]] == 1).all()
    with pytest.raises(ValueError, match="A view needs 'unlabeled_image'"):
        View(loss=WeightedCELoss()).build({"image": batch["image"]})


def test_weights_are_numbers_or_functions():
    assert weight_at(0.5, 7) == 0.5 and weight_at(lambda t: 2.0 * t, 7) == 14.0 and weight_at(Ramp(1.0), 7) == 1.0
