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
from monai.data import CacheDataset, MetaTensor, get_track_meta
from monai.transforms import Compose, Lambdad, RandFlipd, RandSpatialCropd, RandSpatialCropSamplesd, Zoomd

from monai_sscm.transforms import ForEachStreamd, NoMetadataCompose, RandBatchAffined, RandStrongIntensityd


@pytest.mark.parametrize("container", [np.asarray, torch.as_tensor, MetaTensor])
def test_same_values_without_metadata(container):
    def transforms() -> list:
        return [RandSpatialCropd("image", (3, 5, 2), random_size=False), RandFlipd("image", 0.5, spatial_axis=1)]

    image = torch.arange(2 * 6 * 7 * 4, dtype=torch.float32).view(2, 6, 7, 4)
    plain, usual = (kind(transforms()).set_random_state(3) for kind in (NoMetadataCompose, Compose))
    for _ in range(8):
        got, expected = plain({"image": container(image)})["image"], usual({"image": container(image)})["image"]
        assert type(got) is torch.Tensor and got.shape == (2, 3, 5, 2)
        assert torch.equal(got, torch.as_tensor(np.asarray(expected)))
        assert get_track_meta()


def test_each_crop_of_a_list_goes_on():
    crops = RandSpatialCropSamplesd("image", (2, 2), num_samples=3, random_size=False)
    around = Compose([NoMetadataCompose([crops, Lambdad("image", lambda x: x + 100)])])
    got = around({"image": torch.arange(36.0).view(1, 6, 6)})
    assert len(got) == 3 and all(item["image"].shape == (1, 2, 2) and item["image"].min() >= 100 for item in got)


def test_metadata_is_tracked_again_after_an_error():
    def fail(x):
        raise KeyError("no")

    with pytest.raises(KeyError):
        NoMetadataCompose([Lambdad("image", fail)])({"image": torch.zeros(1, 2, 2)})
    assert get_track_meta()


def test_of_a_cache_each_transform_is_applied_once():
    transform = NoMetadataCompose([Zoomd("image", 0.5, keep_size=False), RandFlipd("image", 0.5, 0)]).set_random_state(
        0
    )
    data = [{"image": MetaTensor(torch.rand(1, 32, 32))}]
    dataset = CacheDataset(data, transform, progress=False)
    images = [dataset[0]["image"] for _ in range(20)]
    assert all(image.shape == (1, 16, 16) and type(image) is torch.Tensor for image in images)
    assert len({float(image[0, 0, 0]) for image in images}) == 2  # flipped and not: what is random is not cached


def test_what_is_no_mapping_loses_its_metadata_too():
    image = MetaTensor(torch.rand(1, 4, 4))
    assert type(NoMetadataCompose([])(image)) is torch.Tensor
    assert [type(item["image"]) for item in NoMetadataCompose([])([{"image": image}])] == [torch.Tensor]


def _streams(spatial_dims: int) -> dict[str, torch.Tensor]:
    """A batch whose labels are the images, so that what is moved alike stays alike."""
    image = torch.rand(3, 1, *(9, 8, 7)[:spatial_dims])
    return {
        **{"image": image, "label": image.clone(), "donor_image": image.clone(), "donor_label": image.clone()},
        **{"unlabeled_image": image.clone(), "name": ["a", "b", "c"]},
    }


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_each_stream_is_moved_by_itself_and_its_label_with_it(spatial_dims):
    move = RandBatchAffined(["image", "label"], spatial_dims, prob=1.0, allow_missing_keys=True)
    batch = _streams(spatial_dims)
    moved = ForEachStreamd([move]).set_random_state(0)(batch)
    assert torch.equal(moved["image"], moved["label"]) and torch.equal(moved["donor_image"], moved["donor_label"])
    images = [batch["image"], moved["image"], moved["donor_image"], moved["unlabeled_image"]]
    assert not any(torch.equal(a, b) for i, a in enumerate(images) for b in images[:i])
    assert moved["name"] == batch["name"] and batch["image"] is not moved["image"]


def test_streams_are_seeded_and_those_that_are_not_there_left_out():
    change = RandStrongIntensityd("image", 2, prob=1.0)
    batch = _streams(2)
    both = [ForEachStreamd([change]).set_random_state(5)(batch) for _ in range(2)]
    assert all(torch.equal(both[0][key], both[1][key]) for key in batch if key != "name")
    labeled = {key: batch[key] for key in ("image", "label")}
    alone = ForEachStreamd([change]).set_random_state(5)(labeled)
    assert set(alone) == set(labeled) and torch.equal(alone["image"], both[0]["image"])
    assert torch.equal(alone["label"], batch["label"])
