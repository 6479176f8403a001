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

"""Handlers and tools of MONAI with the trainer, as they come."""

from __future__ import annotations

import logging
import math

import pytest
import torch
from monai.data import Dataset
from monai.handlers import MetricLogger, StatsHandler
from monai.losses import DiceCELoss
from monai.optimizers import LearningRateFinder

from monai_sscm.data import SemiSupervisedLoader
from monai_sscm.engines import View
from monai_sscm.handlers import scalars
from monai_sscm.losses import WeightedCELoss
from tests.helpers.training import assert_same, make_batches, make_network, make_trainer, supmix, weights


def views() -> list[View]:
    return [View(mix=supmix(), loss=WeightedCELoss())]


@pytest.mark.filterwarnings("ignore:ignoring non-scalar output")
def test_defaults_work_with_decollated_outputs(caplog):
    metrics = MetricLogger()
    stats = StatsHandler(name=None)
    with caplog.at_level(logging.INFO):
        trainer = make_trainer(make_batches(2), views=views(), train_handlers=[stats, metrics], decollate=True)
        trainer.run()
    lines = [record.getMessage() for record in caplog.records]
    assert len([line for line in lines if " loss: " in line and "unsupervised_loss: " in line]) == 2
    assert [i for i, _ in metrics.loss] == [1, 2] and all(math.isfinite(loss) for _, loss in metrics.loss)


def test_without_decollating_they_are_told_what_to_pass(caplog):
    for handler in (StatsHandler(name=None), MetricLogger()):
        trainer = make_trainer(make_batches(1), views=views(), train_handlers=[handler])
        with pytest.raises(KeyError, match="output_transform=monai_sscm.handlers.scalars.*loss_transform=lambda"):
            trainer.run()
    with pytest.raises(KeyError, match="^'nothing'$"):
        trainer.state.output["nothing"]
    metrics = MetricLogger(loss_transform=lambda output: output["loss"])
    stats = StatsHandler(name=None, output_transform=scalars)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        trainer = make_trainer(make_batches(2), views=views(), train_handlers=[stats, metrics])
        trainer.run()
    assert sum(" loss: " in record.getMessage() for record in caplog.records) == 2 and len(metrics.loss) == 2


def test_the_learning_rate_finder_takes_the_labeled_stream():
    batch = make_batches(1, labeled=4, unlabeled=2)[0]
    labeled = Dataset([{"image": x, "label": y} for x, y in zip(batch["image"], batch["label"], strict=True)])
    loader = SemiSupervisedLoader(labeled, Dataset([{"image": x} for x in batch["unlabeled_image"]]), batch_size=2)
    network = make_network()
    before = weights(network)
    optimizer = torch.optim.SGD(network.parameters(), 1e-4)
    loss = DiceCELoss(softmax=True, to_onehot_y=True)
    finder = LearningRateFinder(network, optimizer, loss, device="cpu", verbose=False)
    finder.range_test(loader.streams[""], end_lr=1.0, num_iter=12)
    assert len(finder.history["loss"]) == 12 and 1e-4 < finder.get_steepest_gradient()[0] < 1.0
    assert_same(before, network.state_dict())  # put back
