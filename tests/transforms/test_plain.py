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
from monai.data import MetaTensor, get_track_meta
from monai.transforms import Compose, Lambdad, RandFlipd, RandSpatialCropd, RandSpatialCropSamplesd

from monai_sscm.transforms import PlainCompose


@pytest.mark.parametrize("container", [np.asarray, torch.as_tensor, MetaTensor])
def test_same_values_without_metadata(container):
    def transforms() -> list:
        return [RandSpatialCropd("image", (3, 5, 2), random_size=False), RandFlipd("image", 0.5, spatial_axis=1)]

    image = torch.arange(2 * 6 * 7 * 4, dtype=torch.float32).view(2, 6, 7, 4)
    plain, usual = (kind(transforms()).set_random_state(3) for kind in (PlainCompose, Compose))
    for _ in range(8):
        got, expected = plain({"image": container(image)})["image"], usual({"image": container(image)})["image"]
        assert type(got) is torch.Tensor and got.shape == (2, 3, 5, 2)
        assert torch.equal(got, torch.as_tensor(np.asarray(expected)))
        assert get_track_meta()


def test_each_crop_of_a_list_goes_on():
    crops = RandSpatialCropSamplesd("image", (2, 2), num_samples=3, random_size=False)
    around = Compose([PlainCompose([crops, Lambdad("image", lambda x: x + 100)])])
    got = around({"image": torch.arange(36.0).view(1, 6, 6)})
    assert len(got) == 3 and all(item["image"].shape == (1, 2, 2) and item["image"].min() >= 100 for item in got)


def test_metadata_is_tracked_again_after_an_error():
    def fail(x):
        raise KeyError("no")

    with pytest.raises(KeyError):
        PlainCompose([Lambdad("image", fail)])({"image": torch.zeros(1, 2, 2)})
    assert get_track_meta()
