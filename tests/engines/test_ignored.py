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

"""What nobody labelled is not learned from: not as label, not as paste, in no method that uses labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.data import Dataset
from monai.transforms import Compose, LoadImaged, RandSpatialCropd
from torch import nn

from monai_sscm.data import SemiSupervisedLoader
from monai_sscm.engines import SemiSupervisedTrainer
from monai_sscm.losses import LabeledDiceCELoss
from monai_sscm.methods import build_method
from monai_sscm.transforms import IGNORED, HideUnlabeledd, MaskToIndexd
from tests.helpers.training import differ, make_network, weights

#: the labels that a method learns from
LABELS = {
    "supervised": ["label"],
    "supervised_augmented": ["label", "donor_label"],
    "supmix": ["label", "donor_label"],
    "supmix_labeled": ["label", "donor_label"],
    "bcp": ["label"],
}


def flagged_batch(spatial_dims: int, seed: int) -> dict:
    """Images with a channel that is 1 where a labelled image is ignored, and 0 elsewhere."""
    g = torch.Generator().manual_seed(seed)
    space = (12,) * spatial_dims
    batch = {"unlabeled_image": torch.cat([torch.rand(2, 1, *space, generator=g), torch.zeros(2, 1, *space)], 1)}
    for prefix in ("", "donor_"):
        label = torch.randint(0, 3, (2, 1, *space), generator=g)
        ignored = torch.rand(label.shape, generator=g) > 0.6
        image = torch.rand(label.shape, generator=g) + label
        batch |= {f"{prefix}image": torch.cat([image, ignored.float()], 1)}
        batch |= {f"{prefix}label": torch.where(ignored, IGNORED, label).to(torch.uint8)}
    return batch


def train_on_flags(method: str, spatial_dims: int, batches: list[dict]) -> tuple[nn.Module, torch.Tensor]:
    """A network that sees each pixel by itself, and how its weights for the channel were before."""
    torch.manual_seed(0)
    network = (nn.Conv2d if spatial_dims == 2 else nn.Conv3d)(2, 3, 1)
    before = network.weight[:, 1].detach().clone()
    options = {"paste_classes": [1, 2], "paste_margin": 2, "rampup_steps": 0, "max_epochs": 1, "epoch_length": 4}
    built = build_method(method, num_classes=3, spatial_dims=spatial_dims, **options)
    built["views"] = [replace(view, augment=None) for view in built["views"]]
    trainer = SemiSupervisedTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=batches,
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), 0.1),
        loss_function=LabeledDiceCELoss(),
        decollate=False,
        **built,
    )
    trainer.run()
    assert trainer.state.optimizer_steps == len(batches)
    return network, before


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("method", LABELS)
def test_ignored_pixels_are_in_no_loss_and_in_no_paste(method, spatial_dims):
    batches = [flagged_batch(spatial_dims, seed) for seed in range(4)]  # BCP mixes in two ways, one after the other
    network, before = train_on_flags(method, spatial_dims, batches)
    assert torch.equal(network.weight[:, 1], before)
    assert not torch.equal(network.weight[:, 0], before)
    for key in LABELS[method]:  # the same pixels, labelled: now they are learned from
        labeled = [{**batch, key: torch.where(batch[key] == IGNORED, 1, batch[key])} for batch in batches]
        network, before = train_on_flags(method, spatial_dims, labeled)
        assert not torch.equal(network.weight[:, 1], before)


def write_volumes(folder: Path, change: list[int]) -> list[dict]:
    """Two volumes with masks, of which the given slices along the last axis are other ones."""
    folder.mkdir()
    random = np.random.RandomState(0)
    items = []
    for name in ("a", "b"):
        image, mask = random.rand(16, 16, 8).astype("float32"), (random.rand(16, 16, 8) > 0.7).astype("uint8")
        for i in change:
            mask[..., i] = 1 - mask[..., i]
        for kind, array in (("image", image), ("label", mask)):
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), folder / f"{name}_{kind}.nii.gz")
        items.append({kind: str(folder / f"{name}_{kind}.nii.gz") for kind in ("image", "label")})
    return items


def train_on_volumes(items: list[dict], extras: list[dict]) -> tuple[nn.Module, list[torch.Tensor]]:
    """A network that SupMix has trained on volumes, and the labels of its batches."""

    def preprocessing() -> Compose:
        crop = RandSpatialCropd(["image", "label"], (8, 8, 8), random_size=False, allow_missing_keys=True)
        load = LoadImaged(["image", "label"], ensure_channel_first=True, allow_missing_keys=True)
        index = MaskToIndexd("label", 2, allow_missing_keys=True)
        return Compose([load, index, HideUnlabeledd("label", 2, allow_missing_keys=True), crop])

    items = [{**item, **extra} for item, extra in zip(items, extras, strict=True)]
    images = [{"image": item["image"]} for item in items]
    loader = SemiSupervisedLoader(
        *(Dataset(data, preprocessing()) for data in (items, images, items)), batch_size=2, epoch_length=3
    )
    network = make_network(spatial_dims=3)
    labels: list[torch.Tensor] = []
    trainer = SemiSupervisedTrainer(
        device="cpu",
        max_epochs=2,
        train_data_loader=loader,
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), 0.05),
        loss_function=LabeledDiceCELoss(),
        decollate=False,
        **build_method("supmix", num_classes=2, spatial_dims=3, rampup_steps=0, paste_margin=1),
    )
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: labels.append(engine.state.output["label"]))
    trainer.run()
    return network, labels


def test_slices_that_are_not_listed_are_not_learned_from(tmp_path):
    listed = [{"labeled_slices": [1, 5]}, {"labeled_slices": [2]}]
    start = weights(make_network(spatial_dims=3))
    trained = weights(train_on_volumes(write_volumes(tmp_path / "as_they_are", []), listed)[0])
    assert differ(start, trained)
    for change, same in (([0, 3, 4, 6, 7], True), ([5], False)):
        other = weights(train_on_volumes(write_volumes(tmp_path / str(change), change), listed)[0])
        assert differ(trained, other) is not same


def test_where_a_class_is_unlabeled_the_background_is_not_learned_from(tmp_path):
    items = write_volumes(tmp_path / "volumes", [])
    nibabel.save(nibabel.Nifti1Image(np.zeros((16, 16, 8), "uint8"), np.eye(4)), items[0]["label"])
    network, labels = train_on_volumes(items, [{"unlabeled_classes": [1]}, {}])
    values = [sorted(set(label[i].unique().tolist())) for label in labels for i in range(2)]
    assert set(map(tuple, values)) == {(IGNORED,), (0, 1)}  # of the one volume, and of the other
    assert differ(weights(network), weights(make_network(spatial_dims=3)))
