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

"""Images as the network takes them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_sscm.transforms import (
    EnsureImageChannels,
    EnsureImageChannelsD,
    EnsureImageChannelsd,
    EnsureImageChannelsDict,
)


@pytest.mark.parametrize("container", [np.asarray, torch.as_tensor, MetaTensor])
@pytest.mark.parametrize(
    ("shape", "dims"), [((1, 4, 5), 2), ((1, 4, 5, 1), 2), ((1, 4, 5, 1, 1), 2), ((1, 4, 5, 6), 3)]
)
def test_a_grey_image_is_repeated_and_a_single_slice_is_flat(container, shape, dims):
    values = torch.arange(float(np.prod(shape))).to(torch.int16).view(shape)
    out = EnsureImageChannels(3, dims)(container(values))
    assert isinstance(out, type(container(values))) and out.shape == (3, *shape[1 : dims + 1])
    assert np.asarray(out).dtype == np.float32
    for channel in np.asarray(out):
        assert np.array_equal(channel, np.asarray(values).reshape(out.shape[1:]))


def test_colours_stay_and_a_volume_of_one_slice_is_a_volume():
    image = torch.rand(3, 4, 5)
    assert torch.equal(EnsureImageChannels(3, 2)(image), image)
    assert EnsureImageChannels(1, 3)(torch.rand(1, 4, 5, 1)).shape == (1, 4, 5, 1)


@pytest.mark.parametrize(
    ("shape", "value", "message"),
    [
        ((3, 4, 5), 0.0, r"'a.png' has 3 channels, but the network takes 1: .* set `in_channels` to 3"),
        ((1, 4, 5, 2), 0.0, r"'a.png' has the size \(4, 5, 2\), but the network takes images of 2 dimensions"),
        ((1, 4), 0.0, r"'a.png' has the size \(4,\)"),
        ((1, 4, 5), float("nan"), r"'a.png' has 20 NaN or infinite intensities"),
        ((1, 4, 5), -float("inf"), r"'a.png' has 20 NaN or infinite intensities"),
    ],
)
def test_all_else_is_refused_by_its_file_s_name(shape, value, message):
    image = MetaTensor(torch.full(shape, value), meta={"filename_or_obj": "a.png"})
    with pytest.raises(ValueError, match=message):
        EnsureImageChannels(1, 2)(image)


def test_dictionary():
    data = {"image": torch.rand(1, 4, 5), "other": 1}
    out = EnsureImageChannelsd("image", 3, 2)(data)
    assert out["image"].shape == (3, 4, 5) and out["other"] == 1 and data["image"].shape == (1, 4, 5)
    assert EnsureImageChannelsd("mask", 3, 2, allow_missing_keys=True)(data) == data
    with pytest.raises(KeyError):
        EnsureImageChannelsd("mask", 3, 2)(data)
    assert EnsureImageChannelsD is EnsureImageChannelsDict is EnsureImageChannelsd
