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

"""What makes each method of the comparison itself, as the bundle's configuration builds it."""

from __future__ import annotations

from pathlib import Path

import torch
from ignite.engine import Events

from monai_sscm.engines import SemiSupervisedTrainer
from monai_sscm.losses import WeightedCELoss, WeightedDiceCELoss, WeightedDiceLoss
from monai_sscm.networks import FeatureDropout
from tests.helpers.bundles import workflow


def run(data: Path, output_dir: Path, method: str, **values) -> tuple[SemiSupervisedTrainer, list[dict]]:
    """A trainer after eight steps, and what it saw at each."""
    train = workflow(data, output_dir, method=method, rampup_steps=0, max_epochs=1, epoch_length=8, **values)
    train.initialize()
    trainer = train.parser.get_parsed_content("train#trainer")
    steps: list[dict] = []

    def look(engine: SemiSupervisedTrainer) -> None:
        batch = {k: torch.as_tensor(v) for k, v in engine.state.batch.items() if not k.endswith("group")}
        views = [dict(view) for view in engine.state.views]
        steps.append({**batch, **engine.state.pseudo, "views": views, "output": dict(engine.state.output)})

    trainer.add_event_handler(Events.ITERATION_COMPLETED, look)
    trainer.run()
    return trainer, steps


def test_fixmatch_learns_confident_pixels_of_the_strongly_augmented_image(vessel_phantoms, tmp_path):
    trainer, steps = run(vessel_phantoms, tmp_path, "fixmatch", confidence_threshold=0.6)
    assert isinstance(trainer.views[0].loss, WeightedCELoss)
    for step in steps:
        (view,) = step["views"]
        assert view["mask"] is None and not torch.equal(view["image"], step["unlabeled_image"])
        assert torch.equal(view["target"], step["pseudo_label"])
        assert torch.equal(view["weight"], (step["pseudo_confidence"] >= 0.6).float())
    assert 0 < torch.stack([step["views"][0]["weight"] for step in steps]).mean() < 1


def test_unimatch_has_two_strong_views_and_one_of_perturbed_features(vessel_phantoms, tmp_path):
    trainer, steps = run(vessel_phantoms, tmp_path, "unimatch", confidence_threshold=0.6)
    assert [view.weight(1) for view in trainer.views] == [0.5, 0.5, 1.0]
    assert all(isinstance(view.loss, WeightedDiceLoss) for view in trainer.views)
    perturbs = [view.perturb for view in trainer.views]
    assert perturbs[:2] == [None, None] and isinstance(perturbs[2], FeatureDropout) and len(perturbs[2].layers) == 5
    boxes = []
    for step in steps:
        first, second, perturbed = step["views"]
        assert not torch.equal(first["image"], second["image"])
        assert torch.equal(perturbed["image"], step["unlabeled_image"])
        assert torch.equal(perturbed["target"], step["pseudo_label"])
        for view in (first, second):
            boxes.append(view["mask"].flatten(1).float().mean(1))
            # labels and confidences are mixed as the image is
            for key, own in (("target", "pseudo_label"), ("weight", "pseudo_weight")):
                assert torch.equal(view[key], torch.where(view["mask"], step[own].roll(-1, 0), step[own]))
        assert not torch.equal(boxes[-1], boxes[-2]) or boxes[-1].max() == 0
    areas = torch.cat(boxes)
    assert 0.25 < (areas > 0).float().mean() < 0.75 and areas.max() <= 0.45


def test_bcp_pastes_both_ways_and_learns_from_nothing_else(vessel_phantoms, tmp_path):
    trainer, steps = run(vessel_phantoms, tmp_path, "bcp", batch_transform=None)
    assert all(isinstance(view.loss, WeightedDiceCELoss) for view in trainer.views)
    assert [len(step["views"]) for step in steps] == [1] * 2 + [2] * 6  # a quarter before training
    for step in steps[:2]:
        (view,) = step["views"]
        assert view["weight"] is None  # true labels everywhere
        pasted = (view["image"] != step["image"]).any(1, keepdim=True)
        assert 0.3 < pasted.float().mean() < 0.5  # two thirds of each side
        assert torch.equal(view["image"], torch.where(pasted, step["image"].roll(-1, 0), step["image"]))
    for step in steps[2:]:
        to_unlabeled, to_labeled = step["views"]
        mask = to_unlabeled["mask"]
        assert torch.equal(to_unlabeled["image"], torch.where(mask, step["image"], step["unlabeled_image"]))
        assert torch.equal(to_unlabeled["target"], torch.where(mask, step["label"].long(), step["pseudo_label"]))
        assert torch.equal(to_unlabeled["weight"], torch.where(mask, 1.0, 0.5))
        mask = to_labeled["weight"] == 0.5
        assert 0.3 < mask.float().mean() < 0.6
        assert torch.equal(to_labeled["image"], torch.where(mask, step["unlabeled_image"], step["image"]))
        assert torch.equal(to_labeled["target"].long(), torch.where(mask, step["pseudo_label"], step["label"].long()))
        output = step["output"]
        torch.testing.assert_close(output["loss"], output["view_1_loss"] + output["view_2_loss"])


def test_supmix_of_labelled_images_never_sees_an_unlabelled_one(vessel_phantoms, tmp_path):
    trainer, steps = run(vessel_phantoms, tmp_path, "supmix_labeled", paste_margin=0, batch_transform=None)
    assert list(trainer.data_loader.streams) == ["", "donor_"]
    pasted = 0
    for step in steps:
        (view,) = step["views"]
        mask = (step["donor_label"] == 1) if "donor_label" in step else view["mask"]
        assert torch.equal(view["mask"], mask)
        assert torch.equal(view["target"], torch.where(mask, step["donor_label"], step["label"]))
        # vessels count as much as in the labels that were pasted onto, up to the smoothing
        shares = [float((x == 1).float().mean()) for x in (step["label"], view["target"])]
        expected = (shares[0] + 0.01) / (shares[1] + 0.01)
        torch.testing.assert_close(view["weight"][view["target"] == 1].unique(), torch.tensor([expected]))
        pasted += int(mask.sum())
    assert pasted > 0


def test_supmix_keeps_the_shares_of_the_classes_unless_told_otherwise(vessel_phantoms, tmp_path):
    for keep in (True, False):
        _, steps = run(vessel_phantoms, tmp_path / str(keep), "supmix", paste_margin=0, keep_class_shares=keep)
        for step in steps:
            (view,) = step["views"]
            mask, target = view["mask"], view["target"]
            assert bool(mask.any()) and bool((target[mask] == 1).all())
            plain = torch.where(mask, 1.0, step["pseudo_weight"])
            for index in (0, 1):
                before, after = ((x == index).double().mean() for x in (step["pseudo_label"], target))
                ratio = (before + 0.01) / (after + 0.01) if keep else 1.0
                torch.testing.assert_close(
                    view["weight"][target == index], (plain[target == index] * ratio).float(), rtol=1e-4, atol=1e-6
                )
