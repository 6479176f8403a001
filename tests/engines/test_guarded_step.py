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

"""Steps with gradients that are not finite."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Events
from torch import nn

from monai_sscm.engines import GuardedStep, SemiSupervisedEvents, View
from monai_sscm.losses import WeightedCELoss
from tests.helpers.training import assert_same, differ, make_batches, make_network, make_trainer, supmix, weights


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("where", ["image", "unlabeled_image"])
def test_a_step_with_nan_moves_nothing(norm, where):
    batches = make_batches(4)
    batches[2][where] = batches[2][where].clone()
    batches[2][where][0, 0, 3, 3] = float("nan")
    trainer = make_trainer(
        batches, make_network(norm=norm), sufd=True, views=[View(mix=supmix(), loss=WeightedCELoss())]
    )
    states = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda e: states.append([weights(m) for m in (e.network, e.teacher, e.feature_alignment.discriminator)]),
    )
    fired = []
    trainer.add_event_handler(SemiSupervisedEvents.OPTIMIZER_STEP_SKIPPED, lambda e: fired.append(e.state.iteration))
    with pytest.warns(UserWarning, match="Iteration 3: a gradient is NaN"):
        trainer.run()
    for before, after in zip(states[1], states[2]):
        assert_same(before, after)
    assert differ(states[2][0], states[3][0]) and differ(states[2][1], states[3][1])
    assert fired == [3] and trainer.state.skipped_steps == 1 and trainer.state.optimizer_steps == 3
    assert all(torch.isfinite(v).all() for v in weights(trainer.teacher).values())


@pytest.mark.filterwarnings("ignore:Iteration")
def test_gradients_that_stay_nan_end_the_training_with_advice():
    batches = make_batches(60)
    for batch in batches[5:]:
        batch["image"] = batch["image"] * float("nan")
    trainer = make_trainer(batches)
    with pytest.raises(ValueError, match=r"50 steps in a row, up to iteration 55, .* lower the learning rate"):
        trainer.run()
    assert trainer.state.optimizer_steps == 5
    assert all(value.isfinite().all() for value in trainer.teacher.state_dict().values())


def test_nan_in_one_batch_skips_the_whole_group():
    batches = make_batches(4)
    batches[0]["image"] = batches[0]["image"] * float("nan")
    trainer = make_trainer(batches, sufd=True, accumulation_steps=2)
    before = weights(trainer.network)
    states = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: states.append(weights(e.network)))
    with pytest.warns(UserWarning, match="Iteration 2"):
        trainer.run()
    assert_same(before, states[1])
    assert differ(states[1], states[3])
    assert trainer.state.optimizer_steps == 1 and trainer.state.skipped_steps == 1


def test_all_optimizers_step_or_none():
    networks = [nn.BatchNorm1d(2), nn.Linear(2, 1), nn.Linear(2, 1)]
    optimizers = [torch.optim.SGD(network.parameters(), 0.1) for network in networks]
    guarded = GuardedStep(max_skipped=3)
    before = [weights(network) for network in networks]
    for iteration in range(1, 4):
        guarded.open(networks[:2])
        x = networks[0](torch.rand(4, 2))
        (networks[1](x).sum() * float("nan")).backward()
        with pytest.warns(UserWarning, match=rf"Iteration {iteration}: .* \({iteration} in a row\)"):
            assert not guarded.close(optimizers, iteration)
        for network, state in zip(networks, before):
            assert_same(weights(network), state)
        if iteration < 3:
            guarded.check(iteration)
    with pytest.raises(ValueError, match="3 steps in a row, up to iteration 3"):
        guarded.check(3)
    for optimizer in optimizers:
        optimizer.zero_grad()
    guarded.open(networks[:2])
    networks[1](networks[0](torch.rand(4, 2))).sum().backward()
    assert guarded.close(optimizers, 4) and guarded.skipped_in_a_row == 0
    guarded.check(4)
    assert [differ(weights(network), state) for network, state in zip(networks, before)] == [True, True, False]


@pytest.mark.filterwarnings("ignore:Iteration")
def test_another_guard_in_its_place():
    batches = make_batches(4)
    for batch in batches:
        batch["image"] = batch["image"] * float("nan")
    with pytest.raises(ValueError, match="2 steps in a row, up to iteration 2"):
        make_trainer(batches, guarded_step=GuardedStep(max_skipped=2)).run()
