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

import numpy as np
import pytest
import torch
from ignite.engine import Engine

from monai_sscm.engines import PseudoLabeler
from monai_sscm.handlers import (
    PseudoLabelStats,
    pseudo_label_stats,
)
from tests.helpers.logged import Recorder, warnings_of


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


def test_ignored_pixels_of_a_view_are_left_out():
    pseudo, views = make_state()
    stats = pseudo_label_stats(pseudo, views, ["bg", "vessel"], threshold=0.8)
    more = {"pred": views[0]["pred"].repeat(1, 1, 1, 2), "mask": views[0]["mask"].repeat(1, 1, 1, 2)}
    more["target"] = torch.cat([views[0]["target"], torch.full_like(views[0]["target"], 255)], -1)
    assert pseudo_label_stats(pseudo, [more], ["bg", "vessel"], threshold=0.8) == stats


def test_pseudo_label_handler(tmp_path):
    pseudo, views = make_state()

    def step(engine, batch):
        engine.state.pseudo, engine.state.views = (pseudo, views) if batch else ({}, [])

    engine = Engine(step)
    engine.pseudo_labeler = PseudoLabeler(threshold=0.8)
    writer = Recorder(tmp_path)
    PseudoLabelStats(["bg", "vessel"], writer, interval=2).attach(engine)
    engine.run([0, 0, 1, 1, 1, 1])
    assert engine.state.pseudo_stats["pseudo_share_bg"] == 0.5
    assert sorted({step for name, step in writer.seen if name == "pseudo_share_bg"}) == [4, 6]
    engine.pseudo_labeler = lambda logits: {}  # a user's own, without a threshold
    engine.run([1, 1])
    assert "pseudo_share_bg" in engine.state.pseudo_stats
    assert "pseudo_confident_bg" not in engine.state.pseudo_stats


@pytest.mark.parametrize(
    ("label", "weight", "said"),
    [
        ([0, 0], 0.5, "all pixels of the unlabeled images to 'bg' at 3 readings in a row"),
        ([1, 1], 0.5, "all pixels of the unlabeled images to 'vessel' at 3 readings in a row"),
        ([0, 1], 0.0, "Less than 1% of the unlabeled pixels had a confidence of 0.8 or more at 3 readings"),
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
    engine.pseudo_labeler = PseudoLabeler(threshold=0.8)
    PseudoLabelStats(["bg", "vessel"], interval=1, patience=3).attach(engine)
    assert warnings_of(lambda: engine.run([1, 1, 0, 1, 1, 0])) == []  # never three in a row
    found = warnings_of(lambda: engine.run([1, 1, 1, 1, 1, 0, 1, 1, 1]))
    assert len(found) == (2 if said else 0) and all(said in message for message in found)
