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

import warnings
from collections.abc import Callable
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from monai_sscm.engines import View
from monai_sscm.handlers import (
    DiscriminatorStats,
    OverlayHandler,
    PseudoLabelStats,
    dice_per_class,
    iou_per_class,
    overlay,
    pseudo_label_stats,
    scalars,
    segmentation_metrics,
)
from monai_sscm.losses import WeightedCELoss
from tests.engines.test_trainer import make_batch, make_batches, make_network, make_trainer, supmix


@pytest.mark.parametrize("spatial", [(6, 5), (4, 3, 5)])
@pytest.mark.parametrize("decollated", [True, False])
def test_scores_a_second_way(spatial, decollated):
    g = torch.Generator().manual_seed(0)
    pred = [torch.rand((2, 4, *spatial), generator=g) for _ in range(3)]
    label = [torch.randint(0, 3, (2, 1, *spatial), generator=g) for _ in range(3)]
    for p in pred:
        p[:, 3] = -1  # class 3 is neither there nor predicted
    outputs = [{"pred": MetaTensor(p), "label": MetaTensor(y)} for p, y in zip(pred, label)]
    if decollated:
        outputs = [[{k: v[i] for k, v in out.items()} for i in range(2)] for out in outputs]
    engine = Engine(lambda engine, batch: batch)
    for name, metric in segmentation_metrics(["a", "b", "c", "d"]).items():
        metric.attach(engine, name)
    got = engine.run(outputs).metrics

    p, y = torch.cat([x.argmax(1).flatten() for x in pred]).numpy(), torch.cat([x.flatten() for x in label]).numpy()
    ious = []
    for c, name in enumerate("abc"):
        both, either = ((p == c) & (y == c)).sum(), ((p == c) | (y == c)).sum()
        ious.append(both / either)
        assert got[f"iou_{name}"] == pytest.approx(both / either)
        assert got[f"dice_{name}"] == pytest.approx(2 * both / ((p == c).sum() + (y == c).sum()))
    assert np.isnan(got["iou_d"]) and np.isnan(got["dice_d"])
    assert got["mean_iou"] == pytest.approx(np.mean(ious))
    assert next(iter(segmentation_metrics(["a", "b"]))) == "mean_iou"


def test_one_hot_labels():
    label = torch.randint(0, 3, (2, 4, 4))
    one_hot = torch.nn.functional.one_hot(label, 3).movedim(-1, 1)
    engine = Engine(lambda engine, batch: batch)
    for name, metric in segmentation_metrics("abc").items():
        metric.attach(engine, name)
    assert engine.run([{"pred": one_hot.float(), "label": one_hot}]).metrics["mean_iou"] == 1
    with pytest.raises(ValueError, match="one channel or 3"):
        engine.run([{"pred": one_hot.float(), "label": one_hot[:, :2]}])


def test_a_class_that_is_missed_counts_as_zero():
    matrix = torch.tensor([[5, 0], [3, 0]])
    assert iou_per_class(matrix).tolist() == [5 / 8, 0] and dice_per_class(matrix).tolist() == [10 / 13, 0]


def make_state():
    label = torch.tensor([[[[0, 0, 1, 1]]]])
    confidence = torch.tensor([[[[0.9, 0.7, 1.0, 0.6]]]])
    target = torch.tensor([[[[0, 1, 1, 1]]]])
    mask = torch.tensor([[[[False, True, False, False]]]])
    pred = torch.nn.functional.one_hot(torch.tensor([[[1, 1, 1, 0]]]), 3).movedim(-1, 1).float()
    pseudo = {
        "pseudo_label": label,
        "pseudo_confidence": confidence,
        "pseudo_weight": torch.full_like(confidence, 0.25),
    }
    return pseudo, [{"pred": pred, "target": target, "mask": mask}]


def test_pseudo_label_stats():
    pseudo, views = make_state()
    stats = pseudo_label_stats(pseudo, views, ["bg", "vessel", "other"], threshold=0.8)
    assert stats["pseudo_weight"] == 0.25
    assert stats["pseudo_share_bg"] == 0.5 and stats["pseudo_share_other"] == 0
    assert stats["pseudo_confidence_bg"] == pytest.approx(0.8) and stats["pseudo_confident_bg"] == 0.5
    assert stats["pseudo_confidence_vessel"] == pytest.approx(0.8)
    assert stats["pseudo_agreement_bg"] == 0 and stats["pseudo_agreement_vessel"] == 0.5  # the pasted pixel is left out
    assert np.isnan(stats["pseudo_confidence_other"]) and np.isnan(stats["pseudo_agreement_other"])
    assert "pseudo_agreement_bg" not in pseudo_label_stats(pseudo, [], ["bg"], 0.8)


def test_pseudo_label_handler(tmp_path):
    pseudo, views = make_state()

    def step(engine, batch):
        engine.state.pseudo, engine.state.views = (pseudo, views) if batch else ({}, [])

    engine = Engine(step)
    engine.confidence_threshold = 0.8
    writer = Recorder(tmp_path)
    PseudoLabelStats(["bg", "vessel"], writer, interval=2).attach(engine)
    engine.run([0, 0, 1, 1, 1, 1])
    assert engine.state.pseudo_stats["pseudo_share_bg"] == 0.5
    assert sorted({step for name, step in writer.seen if name == "pseudo_share_bg"}) == [4, 6]


@pytest.mark.parametrize(
    ("label", "weight", "said"),
    [
        ([0, 0], 0.5, "all pixels of the unlabelled images to 'bg' at 3 readings in a row"),
        ([1, 1], 0.5, "all pixels of the unlabelled images to 'vessel' at 3 readings in a row"),
        ([0, 1], 0.0, "Less than 1% of the unlabelled pixels had a confidence of 0.8 or more at 3 readings"),
        ([0, 1], 0.5, None),
    ],
)
def test_collapsed_pseudo_labels_are_told_once(label, weight, said):
    def step(engine, batch):
        bad = torch.tensor([[label]]) if batch else torch.tensor([[[0, 1]]])
        engine.state.pseudo = {
            "pseudo_label": bad,
            "pseudo_confidence": torch.full(bad.shape, 0.9),
            "pseudo_weight": torch.full(bad.shape, weight if batch else 1.0),
        }
        engine.state.views = []

    engine = Engine(step)
    engine.confidence_threshold = 0.8
    PseudoLabelStats(["bg", "vessel"], interval=1, patience=3).attach(engine)
    assert warnings_of(lambda: engine.run([1, 1, 0, 1, 1, 0])) == []  # never three in a row
    found = warnings_of(lambda: engine.run([1, 1, 1, 1, 1, 0, 1, 1, 1]))
    assert len(found) == (2 if said else 0) and all(said in message for message in found)


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
    engine.network = engine.discriminator = nn.Identity()
    engine.feature_tap = SimpleNamespace(forward_until=lambda image: image)
    DiscriminatorStats([{"image": images(held_out)}], interval=1, patience=3).attach(engine)
    assert warnings_of(lambda: engine.run([0, 0])) == []
    found = warnings_of(lambda: engine.run([0, 0, 0]))
    assert len(found) == len(said) and all(words in message for words, message in zip(said, found))


def warnings_of(run: Callable[[], object]) -> list[str]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run()
    return [str(warning.message) for warning in said]


class Recorder(SummaryWriter):
    def __init__(self, folder) -> None:
        super().__init__(str(folder))
        self.seen: list = []
        self.pictures: list = []

    def add_scalar(self, tag, value, step, *args, **kwargs):
        self.seen.append((tag, step))
        super().add_scalar(tag, value, step, *args, **kwargs)

    def add_image(self, tag, picture, step, *args, **kwargs):
        self.pictures.append((tag, tuple(picture.shape), step))
        super().add_image(tag, picture, step, *args, **kwargs)


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


def test_overlay():
    image, label = torch.rand(3, 6, 8), torch.zeros(1, 6, 8)
    label[0, 2] = 1
    picture = overlay(image, label, torch.zeros(1, 6, 8))
    assert picture.shape == (3, 6, 24) and 0 <= picture.min() and picture.max() <= 1
    assert not torch.allclose(picture[:, 2, 8:16], picture[:, 2, :8])  # the label is drawn
    torch.testing.assert_close(picture[:, :, 16:], picture[:, :, :8])  # nothing was predicted
    volume = torch.zeros(1, 4, 5, 6)
    volume[..., 3] = 1
    assert overlay(torch.rand(1, 4, 5, 6), volume, volume).shape == (3, 4, 15)
    assert overlay(image).shape == (3, 6, 8)


def test_overlay_handler(tmp_path):
    output = {"image": torch.rand(1, 1, 4, 4), "label": torch.zeros(1, 1, 4, 4), "pred": torch.rand(1, 2, 4, 4)}
    engine = Engine(lambda engine, batch: output)
    writer = Recorder(tmp_path)
    OverlayHandler(writer, num_images=2).attach(engine)
    engine.run([0, 1, 2])
    assert writer.pictures == [("overlay_0", (3, 4, 12), 1), ("overlay_1", (3, 4, 12), 1)]


def test_overlay_of_class_indices_and_of_logits():
    """As a volume is predicted, whose logits would not fit."""
    index = torch.randint(0, 3, (1, 1, 4, 4, 2), dtype=torch.uint8)
    logits = torch.nn.functional.one_hot(index[:, 0].long(), 3).movedim(-1, 1).float()
    for pred in (index, logits):
        writer = Mock()
        engine = Engine(lambda engine, batch: {"image": torch.zeros(1, 1, 4, 4, 2), "label": index, "pred": batch})
        OverlayHandler(writer, num_images=1).attach(engine)
        engine.run([pred])
        image, truth, prediction = writer.add_image.call_args.args[1].split(4, dim=2)
        assert torch.equal(truth, prediction) and not torch.equal(image, prediction)


def test_scalars():
    item = {"loss": torch.tensor(0.5), "pred": torch.rand(2, 2), "count": 3, "name": "x"}
    assert scalars(item) == scalars([item, item]) == {"loss": 0.5, "count": 3.0}
