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

"""The feature discriminator: whose gradients go where, and that it judges images, not classes."""

from __future__ import annotations

import copy

import pytest
import torch
from ignite.engine import Events
from torch import nn

from monai_sscm.engines import FeatureAlignment, SemiSupervisedTrainer, View
from monai_sscm.losses import WeightedCELoss
from monai_sscm.networks import FeatureDiscriminator
from tests.helpers.training import (
    assert_same,
    differ,
    make_batch,
    make_batches,
    make_network,
    make_trainer,
    supmix,
    weights,
)


def test_no_gradient_crosses_between_student_and_discriminator():
    trainer = make_trainer(make_batches(1), sufd=True)
    batch = make_batch(0)
    with trainer.feature_alignment.feature_tap as tap:
        trainer.network(batch["image"])
        labeled = tap.read()
        unlabeled = tap.forward_until(batch["unlabeled_image"])
    trainer.feature_alignment.adversarial_loss(unlabeled).backward()
    assert all(p.grad is None for p in trainer.feature_alignment.discriminator.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in trainer.network.parameters())
    assert all(p.requires_grad for p in trainer.feature_alignment.discriminator.parameters())
    trainer.network.zero_grad(set_to_none=True)
    trainer.feature_alignment.discriminator_step(labeled.detach(), unlabeled.detach())["discriminator_loss"].backward()
    assert all(p.grad is None for p in trainer.network.parameters())
    assert all(p.grad is not None for p in trainer.feature_alignment.discriminator.parameters())


def test_in_a_step_the_student_s_loss_leaves_the_discriminator_alone():
    """Whose optimizer stands still stands still, whatever the other one does."""
    for frozen in ("student", "discriminator"):
        trainer = make_trainer(make_batches(3), sufd=True, views=[View(mix=supmix(), loss=WeightedCELoss())])
        optimizer = trainer.optimizer if frozen == "student" else trainer.feature_alignment.optimizer
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        before = weights(trainer.network), weights(trainer.feature_alignment.discriminator)
        trainer.run()
        still = before[0] if frozen == "student" else before[1]
        moved = trainer.feature_alignment.discriminator if frozen == "student" else trainer.network
        assert_same(still, weights(trainer.network if frozen == "student" else trainer.feature_alignment.discriminator))
        assert differ(before[1] if frozen == "student" else before[0], weights(moved))


def class_content_loss(trainer: SemiSupervisedTrainer, steps: int) -> float:
    """Discriminator loss, late in training, when labelled and unlabelled images are the same images."""
    losses = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(float(engine.state.output["discriminator_loss"]))
    )
    trainer.run()
    return sum(losses[-steps // 4 :]) / (steps // 4)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_discriminator_cannot_learn_from_class_content_alone(norm):
    """
    Labelled and unlabelled images are drawn from the same images, the classes are plain to see in the features and a
    class is pasted at every step: the discriminator has nothing to learn. That the setting could show a leak is shown
    by a discriminator that is told "pasted = labelled".
    """
    steps = 120
    batches = []
    for i in range(steps):
        # two independent draws of one distribution
        a, b = make_batch(2 * i, labeled=8), make_batch(2 * i + 1, labeled=8)
        batches.append({"image": a["image"], "label": a["label"], "unlabeled_image": b["image"]})
    network = make_network(norm=norm)
    trainer = make_trainer(
        batches,
        network,
        sufd=True,
        optimizer=torch.optim.SGD(network.parameters(), 0.0),
        views=[View(mix=supmix(), loss=WeightedCELoss())],
    )
    leaky = copy.deepcopy(trainer.feature_alignment.discriminator)
    assert class_content_loss(trainer, steps) > 0.68  # log 2 = 0.693

    optimizer = torch.optim.Adam(leaky.parameters(), 1e-3)
    losses = []
    for batch in batches:
        mask = batch["label"].bool()
        mixed = torch.where(mask, batch["image"], batch["unlabeled_image"])
        with trainer.feature_alignment.feature_tap as tap:
            trainer.network(mixed)
            logits = leaky(tap.read().detach())
        target = nn.functional.interpolate(mask.float(), logits.shape[2:], mode="area")
        loss = nn.functional.binary_cross_entropy_with_logits(
            logits, target, weight=0.5 * (target / target.mean() + (1 - target) / (1 - target).mean())
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert sum(losses[-steps // 4 :]) / (steps // 4) < 0.66


def test_student_carries_no_hook_outside_a_run():
    trainer = make_trainer(make_batches(1), sufd=True)
    layer = trainer.network.get_submodule("model.1.submodule")
    inside = []
    trainer.add_event_handler(Events.ITERATION_STARTED, lambda e: inside.append(len(layer._forward_hooks)))
    trainer.run()
    assert inside == [1] and not layer._forward_hooks
    broken = make_trainer([{"image": torch.rand(1, 1, 16, 16)}], sufd=True)
    with pytest.raises(ValueError, match="needs 'image' and 'label'"):
        broken.run()
    assert not broken.network.get_submodule("model.1.submodule")._forward_hooks


def test_discriminator_with_statistics_and_frozen_parts():
    batches = make_batches(3)
    batches[1]["unlabeled_image"] = batches[1]["unlabeled_image"] * float("nan")
    torch.manual_seed(0)
    discriminator = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1)).eval()
    discriminator[0].requires_grad_(False)
    trainer = make_trainer(
        batches,
        sufd=True,
        discriminator=discriminator,
        discriminator_optimizer=torch.optim.Adam(discriminator[2].parameters(), 1e-3),
    )
    with pytest.warns(UserWarning, match="Iteration 2"):
        trainer.run()
    assert discriminator.training and torch.isfinite(discriminator[1].running_mean).all()
    assert discriminator[1].num_batches_tracked > 0
    assert [p.requires_grad for p in discriminator.parameters()] == [False, False, True, True, True, True]


def test_a_ready_made_alignment_is_the_five_arguments():
    views = [View(mix=supmix(), loss=WeightedCELoss())]
    by_arguments = make_trainer(make_batches(3), sufd=True, views=views, adversarial_interval=2)
    torch.manual_seed(1)
    discriminator = FeatureDiscriminator(2, in_channels=4, channels=8)
    optimizer = torch.optim.Adam(discriminator.parameters(), 1e-3)
    alignment = FeatureAlignment(discriminator, optimizer, "model.1.submodule", weight=0.1, interval=2)
    ready_made = make_trainer(make_batches(3), views=views, feature_alignment=alignment)
    by_arguments.run()
    ready_made.run()
    assert_same(weights(by_arguments.network), weights(ready_made.network))
    assert_same(weights(by_arguments.feature_alignment.discriminator), weights(discriminator))
    with pytest.raises(ValueError, match="not both"):
        make_trainer(make_batches(1), sufd=True, feature_alignment=alignment)


def test_weight_is_a_ramp_and_interval_multiplies_it():
    discriminator = FeatureDiscriminator(2, in_channels=4, channels=8)
    optimizer = torch.optim.Adam(discriminator.parameters(), 1e-3)
    alignment = FeatureAlignment(discriminator, optimizer, "model.0", weight=lambda t: 0.5 * t, interval=3)
    assert [t for t in range(1, 10) if alignment.is_due(t)] == [3, 6, 9]
    assert alignment.factor(6) == 9.0
    with pytest.raises(ValueError, match="interval"):
        FeatureAlignment(discriminator, optimizer, "model.0", interval=0)


def test_states_of_trainings_with_and_without_a_discriminator_differ():
    plain, aligned = make_trainer(make_batches(1)), make_trainer(make_batches(1), sufd=True)
    plain.run()
    aligned.run()
    assert set(aligned.state_dict()) - set(plain.state_dict()) == {"discriminator", "discriminator_optimizer"}
    with pytest.raises(ValueError, match="a training with a discriminator, this one has none"):
        plain.load_state_dict(aligned.state_dict())
    with pytest.raises(ValueError, match="a training with no discriminator, this one has one"):
        aligned.load_state_dict(plain.state_dict())


def test_unlabelled_images_are_needed():
    batch = {key: value for key, value in make_batch(0).items() if key != "unlabeled_image"}
    with pytest.raises(ValueError, match="discriminator needs 'unlabeled_image'"):
        make_trainer([batch], sufd=True).run()
