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

from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from monai_sscm.engines import View
from monai_sscm.handlers import (
    DiscriminatorStats,
)
from monai_sscm.losses import WeightedCELoss
from tests.helpers.logged import Recorder, warnings_of
from tests.helpers.training import make_batch, make_batches, make_network, make_trainer, supmix


@pytest.mark.parametrize(
    ("labeled", "unlabeled", "held_out", "said"),
    [(1, -1, -1, ["it wins", "by heart"]), (1, -1, 1, ["it wins"]), (1, 1, 1, []), (-1, 1, 1, [])],
)
def test_a_discriminator_that_wins_is_told_once(labeled, unlabeled, held_out, said):
    """Images with the value 1 are taken for labelled, and those with -1 for unlabelled."""

    def images(value: float) -> torch.Tensor:
        return torch.full((2, 1, 4, 4), float(value))

    def step(engine, batch):
        engine.state.output = {"image": images(labeled)}
        engine.state.pseudo = {"unlabeled_image": images(unlabeled)}
        return engine.state.output

    engine = Engine(step)
    engine.state.device = torch.device("cpu")
    engine.network = nn.Identity()
    tap = SimpleNamespace(forward_until=lambda image: image)
    engine.feature_alignment = SimpleNamespace(discriminator=nn.Identity(), feature_tap=tap)
    DiscriminatorStats([{"image": images(held_out)}], interval=1, patience=3).attach(engine)
    assert warnings_of(lambda: engine.run([0, 0])) == []
    found = warnings_of(lambda: engine.run([0, 0, 0]))
    assert len(found) == len(said) and all(words in message for words, message in zip(said, found))


@pytest.mark.parametrize(("norm", "decollate"), [("instance", True), ("batch", False)])
def test_discriminator_stats(tmp_path, norm, decollate):

    held_out = [{"image": make_batch(9)["image"]}, {"image": make_batch(10)["image"]}]

    def run(*handlers):
        trainer = make_trainer(
            make_batches(6),
            make_network(norm=norm),
            sufd=True,
            views=[View(mix=supmix(), loss=WeightedCELoss())],
            train_handlers=handlers,
            decollate=decollate,
        )
        trainer.run()
        return trainer

    writer = Recorder(tmp_path)
    with pytest.raises(ValueError, match="held_out"):
        run(DiscriminatorStats([], interval=1))
    watched, plain = run(DiscriminatorStats(held_out, writer, interval=2)), run()
    names = {f"judged_labeled_{name}" for name in ("labeled", "unlabeled", "held_out")}
    assert set(watched.state.discriminator_stats) == names
    assert all(0 <= value <= 1 for value in watched.state.discriminator_stats.values())
    assert sorted({step for _, step in writer.seen}) == [2, 4, 6]  # the two held-out batches, and the first again
    for (name, a), b in zip(watched.network.state_dict().items(), plain.network.state_dict().values()):
        assert torch.equal(a, b), name  # watching changes nothing
    without = run(DiscriminatorStats(None, interval=2))
    assert set(without.state.discriminator_stats) == names - {"judged_labeled_held_out"}
