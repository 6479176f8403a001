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
from monai.inferers import SimpleInferer
from monai.transforms import Zoom

from monai_sscm.inferers import ZoomInferer
from monai_sscm.transforms import (
    BlackenBorder,
    BlackenBorderd,
    EnsureImageChannels,
    EnsureImageChannelsD,
    EnsureImageChannelsd,
    EnsureImageChannelsDict,
    KeepFieldOfViewd,
    ZoomToSide,
    ZoomToSided,
    field_of_view,
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


def test_a_volume_keeps_its_numbers_and_needs_all_its_channels():
    volume = torch.randint(-1000, 400, (1, 4, 5, 6), dtype=torch.int16)
    out = EnsureImageChannels(1, 3, repeat_gray=False, dtype=None)(volume)
    assert out.dtype == torch.int16 and torch.equal(out, volume)
    with pytest.raises(ValueError, match="has 1 channel, but the network takes 2"):
        EnsureImageChannelsd("image", 2, 3, repeat_gray=False)({"image": volume})


@pytest.mark.parametrize("shape", [(45, 61), (20, 33, 27)], ids=["2d", "3d"])
def test_training_sees_what_inference_sees(shape):
    """To the bit what MONAI's zoom gives, and what ZoomInferer shows to the network."""
    image, label = torch.rand(3, *shape), torch.randint(0, 3, (1, *shape), dtype=torch.uint8)
    item = ZoomToSided(["image", "label"], zoom=0.5, nearest=[False, True])({"image": image, "label": label})
    assert torch.equal(item["image"], Zoom(0.5, mode="area", keep_size=False)(image).as_tensor())
    assert torch.equal(item["label"], Zoom(0.5, mode="nearest-exact", keep_size=False)(label).byte().as_tensor())
    for zoom, side in ((0.5, None), (1.0, 30), (0.7, 90)):
        seen = []
        ZoomInferer(zoom, SimpleInferer(), side)(image[None], lambda x: seen.append(x) or x)
        assert torch.equal(ZoomToSide(zoom, side)(image), seen[0][0])
    assert ZoomToSide(1.0)(image) is image


def photograph(height: int = 200, width: int = 240, radius: int = 90, black: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc with dark vessels in it, and where it is."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    disc = (y - height // 2) ** 2 + (x - width // 2) ** 2 < radius**2
    image = np.where(disc, 150, black) + rng.integers(0, 6, (3, height, width))
    image[:, height // 2 - 1 : height // 2 + 1] = black  # a vessel from border to border
    return image.astype(np.uint8), disc


@pytest.mark.parametrize("black", [0, 20])
@pytest.mark.parametrize("rows", [0, 1, 30])
def test_the_field_of_view(black, rows):
    image, disc = photograph(black=black)
    image, disc = image[:, 40:], disc[40:]  # cut at the top
    image, disc = (np.pad(x, ((0, 0),) * (x.ndim - 2) + ((rows, 0), (0, 0))) for x in (image, disc))
    field = field_of_view(image)
    assert (field != disc).mean() < 0.01
    assert not field[:rows].any() and field[:, 120].sum() == disc[:, 120].sum()  # the vessel is no border


@pytest.mark.parametrize("kind", ["no border", "nothing", "dark in the middle", "one value"])
def test_a_picture_without_a_border_is_all_of_the_field(kind):
    image = photograph()[0][:, 60:140, 80:160]
    image = {"nothing": image * 0, "one value": image * 0 + 7}.get(kind, image)
    if kind == "dark in the middle":
        image[:, 30:50, 30:50] = 0
    assert field_of_view(image).all()


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("margin", [0, 20])
def test_nothing_is_predicted_outside_the_field_of_view(classes, margin):
    image, disc = photograph()
    pred = torch.ones(1, *disc.shape, dtype=torch.uint8) if classes == 1 else torch.randn(3, *disc.shape) * 200
    kept = KeepFieldOfViewd("pred", "shown", margin)({"pred": MetaTensor(pred), "shown": image})["pred"]
    assert isinstance(kept, MetaTensor) and kept.dtype == pred.dtype and kept.shape == pred.shape
    mask, before = (x[0] if classes == 1 else x.argmax(0) for x in (kept.as_tensor(), pred))
    field = torch.as_tensor(field_of_view(image, margin // 5))  # of 200 pixels
    assert not mask[~field].any() and torch.equal(mask[field], before[field])
    assert int(field.sum()) < int(disc.sum()) if margin else (field.numpy() == field_of_view(image)).all()


@pytest.mark.parametrize("container", [np.asarray, torch.as_tensor, MetaTensor])
def test_the_border_of_any_camera_is_black(container):
    image, disc = photograph(black=20)
    out = BlackenBorderd(["image", "other"], allow_missing_keys=True)({"image": container(image)})["image"]
    assert isinstance(out, type(container(image))) and out.dtype == container(image).dtype
    field = field_of_view(image)
    assert (field != disc).mean() < 0.01 and (np.asarray(out)[:, ~field] == 0).all()
    assert (np.asarray(out)[:, field] == image[:, field]).all()
    whole = container(image[:, 60:140, 80:160])
    assert (np.asarray(BlackenBorder()(whole)) == np.asarray(whole)).all()
