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

"""What may differ on a GPU: results of the CPU, mixed precision, compiling, checkpoints. Skipped without one."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from monai_sscm.engines import View
from monai_sscm.losses import WeightedCELoss
from monai_sscm.metrics import confusion_matrix
from monai_sscm.transforms import ClassMixd, CutMixSegd, RandStrongIntensity
from tests.helpers.training import KEYS, OUT, make_batch, make_batches, make_network, make_trainer, supmix

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]
DEVICE = "cuda"


def views(spatial_dims: int) -> list[View]:
    return [View(mix=supmix(spatial_dims), loss=WeightedCELoss())]


def moved(batch: dict, device: str) -> dict:
    return {key: value.to(device) for key, value in batch.items()}


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("kind", ["supmix", "classmix", "cutmix"])
def test_mixes_are_those_of_the_cpu(kind, spatial_dims):
    batch = make_batch(0, spatial_dims=spatial_dims)
    shape = batch["label"].shape
    batch |= {"pseudo_label": 1 - batch["label"], "pseudo_weight": torch.full(shape, 0.5)}
    mix = {
        "supmix": lambda: supmix(spatial_dims),
        "classmix": lambda: ClassMixd(KEYS, "pseudo_label", num_classes=2, spatial_dims=spatial_dims, output_keys=OUT),
        "cutmix": lambda: CutMixSegd(KEYS, spatial_dims=spatial_dims, output_keys=OUT),
    }[kind]()
    found = []
    for device in ("cpu", DEVICE):
        mix.set_random_state(0)
        found.append(mix(moved(batch, device)))
    for key in OUT:
        assert found[1][key].device.type == DEVICE
        torch.testing.assert_close(found[0][key], found[1][key].cpu(), msg=key)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("sufd", [False, True])
def test_steps_are_those_of_the_cpu(spatial_dims, sufd):
    losses = []
    for device in ("cpu", DEVICE):
        batches = make_batches(3, spatial_dims=spatial_dims)
        trainer = make_trainer(batches, make_network(spatial_dims), sufd, views=views(spatial_dims), device=device)
        trainer.run()
        assert next(trainer.teacher.parameters()).device.type == device
        losses.append(float(trainer.state.output["loss"]))
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


@pytest.mark.parametrize("options", [{"amp": True}, {"compile": True}], ids=lambda options: next(iter(options)))
def test_mixed_precision_and_compiled_steps_stay_near_those_of_float32(options):
    losses = []
    for kwargs in ({}, options):
        trainer = make_trainer(make_batches(4), make_network(), views=views(2), device=DEVICE, epochs=2, **kwargs)
        trainer.run()
        assert trainer.state.optimizer_steps == 8
        losses.append(float(trainer.state.output["loss"]))
    assert math.isfinite(losses[1]) and losses[1] == pytest.approx(losses[0], rel=0.1)


def test_a_state_is_taken_up_by_another_trainer():
    trainer = make_trainer(make_batches(4), make_network(), views=views(2), device=DEVICE, amp=True)
    trainer.run()
    state = copy.deepcopy(trainer.state_dict())
    other = make_trainer(make_batches(4), make_network(), views=views(2), device=DEVICE, amp=True, epochs=2)
    other.load_state_dict(state)
    for name, value in trainer.teacher.state_dict().items():
        torch.testing.assert_close(other.teacher.state_dict()[name], value, rtol=0, atol=0, msg=name)


def test_augmentation_and_counts_stay_on_the_device():
    images = torch.rand(4, 1, 32, 32, device=DEVICE)
    assert RandStrongIntensity(spatial_dims=2)(images).device == images.device
    label = (images > 0.5).long()
    counts = confusion_matrix(label, label.roll(1, -1), 2)
    torch.testing.assert_close(counts.cpu(), confusion_matrix(label.cpu(), label.roll(1, -1).cpu(), 2))
