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

"""Seeds, states, epochs, accumulation and mixed precision."""

from __future__ import annotations

import io

import pytest
import torch
from ignite.engine import Events
from monai.data import Dataset
from torch import nn

from monai_sscm.data import SemiSupervisedLoader
from monai_sscm.engines import PseudoLabeler, View
from monai_sscm.losses import WeightedCELoss, WeightedMSELoss
from monai_sscm.transforms import ClassMixd, CutMixSegd, RandStrongIntensity
from tests.helpers.training import (
    KEYS,
    OUT,
    assert_same,
    differ,
    make_batch,
    make_batches,
    make_network,
    make_trainer,
    supmix,
    weights,
)


@pytest.mark.parametrize(
    "make_view",
    [
        lambda: View(
            mix=ClassMixd(KEYS, "pseudo_label", num_classes=2, spatial_dims=2, output_keys=OUT), loss=WeightedCELoss()
        ),
        lambda: View(
            mix=CutMixSegd(KEYS, spatial_dims=2, output_keys=OUT), augment=RandStrongIntensity(2), loss=WeightedCELoss()
        ),
        lambda: View(target="pseudo_prob", augment=RandStrongIntensity(2), loss=WeightedMSELoss(), weight=0.1),
        lambda: View(mix=supmix(prob=0.5), augment=RandStrongIntensity(2), loss=WeightedCELoss()),
    ],
)
def test_methods_are_reproducible_and_seeded_by_epoch(make_view):
    def run(seed: int, epochs: int) -> tuple[dict, list]:
        trainer = make_trainer(
            make_batches(3), views=[make_view()], epochs=epochs, seed=seed, pseudo_labeler=PseudoLabeler(0.5)
        )
        images = []
        trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: images.append(e.state.views[0]["image"]))
        trainer.run()
        return weights(trainer.network), images

    (a, images), (b, _), (c, _) = run(0, 2), run(0, 2), run(1, 2)
    assert_same(a, b)
    assert differ(a, c)
    assert not torch.equal(images[0], images[3])  # another epoch, another draw


def test_resume_from_the_trainer_s_state():
    """Saving "trainer", network and optimizers at the end of an epoch is enough, and loads with weights_only=True."""

    def make(epochs: int):
        return make_trainer(
            make_batches(4),
            sufd=True,
            epochs=epochs,
            views=[View(mix=supmix(prob=0.5), augment=RandStrongIntensity(2), loss=WeightedCELoss())],
        )

    def parts(t):
        return {"trainer": t, "network": t.network, "optimizer": t.optimizer}

    whole, first, second = make(3), make(3), make(3)
    whole.run()
    file = io.BytesIO()
    first.add_event_handler(
        Events.EPOCH_COMPLETED(once=1), lambda e: torch.save({k: v.state_dict() for k, v in parts(e).items()}, file)
    )
    first.run()
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    for name, part in parts(second).items():
        part.load_state_dict(saved[name])
    second.run()
    assert second.state.iteration == 12 and second.state.optimizer_steps == 12
    for a, b in zip(parts(whole).values(), parts(second).values()):
        if isinstance(a, nn.Module):
            assert_same(weights(a), weights(b))
    assert_same(weights(whole.teacher), weights(second.teacher))
    assert_same(weights(whole.feature_alignment.discriminator), weights(second.feature_alignment.discriminator))


def test_accumulation_equals_one_large_batch():
    big = make_batches(3, labeled=4, unlabeled=4)
    small = [{k: v[i : i + 2] for k, v in batch.items()} for batch in big for i in (0, 2)]
    # losses that are means over samples
    common = {"loss_function": WeightedCELoss(), "sufd": True}
    view = [View(mix=supmix(), loss=WeightedCELoss())]
    one = make_trainer(big, views=view, **common)
    many = make_trainer(small, views=view, accumulation_steps=2, **common)
    one.run()
    many.run()
    assert one.state.optimizer_steps == many.state.optimizer_steps == 3
    for a, b in (
        (one.network, many.network),
        (one.teacher, many.teacher),
        (one.feature_alignment.discriminator, many.feature_alignment.discriminator),
    ):
        assert_same(weights(a), weights(b), exact=False)


def test_accumulation_flushes_at_the_end_of_an_epoch():
    trainer = make_trainer(make_batches(5), accumulation_steps=2, epochs=2)
    trainer.run()
    assert trainer.state.optimizer_steps == 6  # 2 + 2 + 1 iterations, twice


def test_lists_of_events_that_a_user_passes_are_left_alone():
    names, attributes = ["mine"], {"mine": "mine_count"}
    trainer = make_trainer(make_batches(1), event_names=names, event_to_attr=attributes)
    assert names == ["mine"] and attributes == {"mine": "mine_count"} and trainer.state.mine_count == 0


def test_mixed_precision_on_the_cpu_is_bfloat16():
    dtypes = []
    network = make_network()
    trainer = make_trainer(
        make_batches(3), network, sufd=True, views=[View(mix=supmix(), loss=WeightedCELoss())], amp=True
    )
    network.model[0].register_forward_hook(lambda m, a, out: dtypes.append(out.dtype))
    plain = make_trainer(make_batches(3), sufd=True, views=[View(mix=supmix(), loss=WeightedCELoss())])
    trainer.run()
    plain.run()
    assert set(dtypes) == {torch.bfloat16} and not trainer.scaler.is_enabled()
    for name, value in trainer.network.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, plain.network.state_dict()[name], rtol=0.1, atol=0.02)


def test_epoch_length_is_the_loader_s():
    data = Dataset([{k: v[0] for k, v in make_batch(0).items() if k != "unlabeled_image"}])
    loader = SemiSupervisedLoader(data, batch_size=2, epoch_length=3)
    trainer = make_trainer(make_batches(1), train_data_loader=loader)
    trainer.run()
    assert trainer.state.iteration == 3
    with pytest.raises(ValueError, match="epoch_length"):
        make_trainer(make_batches(1), train_data_loader=loader, epoch_length=2)


def test_the_teacher_starts_from_weights_that_others_load():
    """As a handler of a host does at the start, or a federated client between runs; not where a state was restored."""

    def shifted(network: nn.Module, by: float) -> dict:
        return {name: x + by for name, x in network.state_dict().items()}

    def still(trainer) -> None:  # so that the student stays where it is
        for group in trainer.optimizer.param_groups:
            group["lr"] = 0.0

    trainer = make_trainer(make_batches(2), epochs=1)
    still(trainer)
    loaded = shifted(trainer.network, 1.0)
    trainer.add_event_handler(Events.STARTED, lambda: trainer.network.load_state_dict(loaded))
    trainer.run()
    assert_same(weights(trainer.teacher), loaded)
    assert not trainer.teacher_warmup
    # nobody loads: a second run keeps the teacher that there is
    trainer = make_trainer(make_batches(2), epochs=1)
    still(trainer)
    other = shifted(trainer.network, 1.0)
    trainer.teacher.load_state_dict(other)
    trainer.teacher_warmup = False
    trainer.teacher_decay = 1.0
    trainer.run()
    assert_same(weights(trainer.teacher), other)
    trainer.state.max_epochs = 2
    trainer.run()
    assert_same(weights(trainer.teacher), other)
    # between two rounds somebody loads what the rounds of all clients gave
    aggregated = shifted(trainer.network, -1.0)
    trainer.network.load_state_dict(aggregated)
    trainer.state.max_epochs = 3
    trainer.run()
    assert_same(weights(trainer.teacher), aggregated)
    # a state that is restored brings the teacher that belongs to it
    state = trainer.state_dict()
    state["teacher"] = other
    again = make_trainer(make_batches(2), epochs=4)
    still(again)
    again.teacher_decay = 1.0
    again.network.load_state_dict(aggregated)
    again.load_state_dict(state | {"max_epochs": 4})
    again.run()
    assert_same(weights(again.teacher), other)
