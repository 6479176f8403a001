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

"""Pseudo-labels, confidences and weights."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import torch

from monai_sscm.engines import PseudoLabeler, SemiSupervisedTrainer, View
from monai_sscm.losses import WeightedCELoss
from tests.helpers.training import make_batches, make_trainer


def test_pixel_weighting():
    labeler = PseudoLabeler(threshold=0.6, weighting="pixel")
    trainer = make_trainer(make_batches(1), views=[View(loss=WeightedCELoss())], pseudo_labeler=labeler)
    trainer.run()
    pseudo = trainer.state.pseudo
    assert torch.equal(pseudo["pseudo_weight"], (pseudo["pseudo_confidence"] >= 0.6).float())


@pytest.mark.parametrize("spatial", [(6, 5), (4, 3, 5)])
@pytest.mark.parametrize("weighting", ["image", "pixel"])
def test_pixel_by_pixel(spatial, weighting):
    logits = torch.randn(3, 4, *spatial, generator=torch.Generator().manual_seed(0), requires_grad=True)
    pseudo = PseudoLabeler(threshold=0.5, weighting=weighting)(logits)
    assert not any(value.requires_grad for value in pseudo.values())
    for i in range(3):
        prob = logits[i].detach().double().exp() / logits[i].detach().double().exp().sum(0)
        confidence, label = prob.max(0)
        weight = (confidence >= 0.5).float()
        weight = torch.full(spatial, float(weight.mean())) if weighting == "image" else weight
        torch.testing.assert_close(pseudo["pseudo_prob"][i].double(), prob)
        torch.testing.assert_close(pseudo["pseudo_confidence"][i, 0].double(), confidence)
        assert torch.equal(pseudo["pseudo_label"][i, 0], label)
        torch.testing.assert_close(pseudo["pseudo_weight"][i, 0], weight)


def _thresholds(labeler: PseudoLabeler, batches: list[torch.Tensor], num_classes: int) -> list[np.ndarray]:
    """Every class's threshold after each batch, a second way: from the confidences themselves, older ones less."""
    seen: list[list[np.ndarray]] = [[] for _ in range(num_classes)]
    found = []
    for logits in batches:
        prob = scipy.special.softmax(logits.numpy(), axis=1)
        confidence, label = prob.max(1), prob.argmax(1)
        thresholds = np.full(num_classes, labeler.threshold)
        for c in range(num_classes):
            seen[c] += [confidence[label == c]] if (label == c).any() else []
            values = np.concatenate([[], *seen[c]])
            ages = np.concatenate([[], *(np.full(len(x), len(seen[c]) - 1 - i) for i, x in enumerate(seen[c]))])
            counts = labeler.momentum**ages
            for edge in np.arange(labeler.BINS)[::-1] / labeler.BINS:  # down to where enough are above
                if len(values) and counts[values >= edge].sum() >= labeler.min_share * counts.sum():
                    thresholds[c] = min(edge, labeler.threshold)
                    break
        found.append(thresholds)
    return found


@pytest.mark.parametrize("spatial", [(37, 25), (4, 13, 25)])
def test_a_threshold_of_each_class_follows_the_teacher(spatial):
    generator = torch.Generator().manual_seed(0)
    # the first class is easy, the second one is hard, the third one is seen once, the last one never
    batches = [torch.randn(3, 4, *spatial, generator=generator) for _ in range(6)]
    for i, logits in enumerate(batches):
        logits[:, 0] *= torch.where(logits[:, 0] > 0, 9.0, 0.8)
        logits[:, 1] = 0
        logits[:, 2] += -1000 * (i != 2)
        logits[:, 3] = -1000
    labeler = PseudoLabeler(threshold=0.9, weighting="class", min_share=0.3, momentum=0.8)
    expected = _thresholds(labeler, batches, 4)
    assert expected[-1][0] == 0.9 > expected[-1][1] > 0.5 and expected[-1][3] == 0.9
    for logits, thresholds in zip(batches, expected, strict=True):
        pseudo = labeler(logits)
        confidence, label = pseudo["pseudo_confidence"].numpy(), pseudo["pseudo_label"].numpy()
        assert np.array_equal(pseudo["pseudo_weight"].numpy(), confidence >= thresholds.astype(np.float32)[label])
    hard = pseudo["pseudo_weight"][pseudo["pseudo_label"] == 1]
    assert 0.25 < hard.mean() < 0.35  # the share that was asked for
    assert pseudo["pseudo_weight"][pseudo["pseudo_label"] == 0].mean() > 0.8


def test_without_a_smallest_share_it_is_one_threshold_for_all():
    logits = 2 * torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    by_class = PseudoLabeler(0.8, "class", min_share=0.0)(logits)["pseudo_weight"]
    assert torch.equal(by_class, PseudoLabeler(0.8, "pixel")(logits)["pseudo_weight"])
    assert (PseudoLabeler(0.8, "class", min_share=1.0)(logits)["pseudo_weight"] == 1).all()


def test_thresholds_go_on_from_a_state_and_survive_nan():
    batches = [torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    whole, first, second = (PseudoLabeler(weighting="class") for _ in range(3))
    expected = [whole(logits) for logits in batches]
    for logits in batches[:2]:
        first(logits)
    second.load_state_dict(first.state_dict())
    second(torch.full((2, 3, 8, 8), float("nan")))
    for logits, pseudo in zip(batches[2:], expected[2:], strict=True):
        assert torch.equal(second(logits)["pseudo_weight"], pseudo["pseudo_weight"])


def test_thresholds_are_saved_with_the_trainer():
    def trainer(epochs: int) -> SemiSupervisedTrainer:
        labeler = PseudoLabeler(0.6, "class", momentum=0.5)
        views = [View(loss=WeightedCELoss())]
        return make_trainer(make_batches(2), views=views, pseudo_labeler=labeler, epochs=epochs)

    whole, half, rest = trainer(2), trainer(1), trainer(2)
    whole.run()
    half.run()
    rest.load_state_dict(half.state_dict())
    rest.network.load_state_dict(half.network.state_dict())
    rest.optimizer.load_state_dict(half.optimizer.state_dict())
    rest.run()
    expected = whole.pseudo_labeler.counts
    assert torch.equal(rest.pseudo_labeler.counts, expected) and not torch.equal(half.pseudo_labeler.counts, expected)


def test_another_pseudo_labeler_in_its_place():
    """What it returns is what the views learn from."""

    def everything_is_foreground(logits: torch.Tensor) -> dict[str, torch.Tensor]:
        pseudo = PseudoLabeler()(logits)
        return {**pseudo, "pseudo_label": torch.ones_like(pseudo["pseudo_label"])}

    views = [View(loss=WeightedCELoss())]
    trainer = make_trainer(make_batches(1), views=views, pseudo_labeler=everything_is_foreground)
    trainer.run()
    assert (trainer.state.views[0]["target"] == 1).all()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"weighting": "voxel"}, "weighting"),
        ({"threshold": 95}, "threshold"),
        ({"threshold": -0.1}, "threshold"),
        ({"min_share": 1.5}, "min_share"),
        ({"momentum": 1}, "momentum"),
    ],
)
def test_refused_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        PseudoLabeler(**kwargs)
    with pytest.raises(ValueError, match="out_channels"):
        PseudoLabeler()(torch.zeros(1, 1, 4, 4))
