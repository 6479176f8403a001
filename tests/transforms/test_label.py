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
from monai.data import MetaTensor
from monai.transforms import Compose

from monai_sscm.transforms import (
    KeepClassShares,
    KeepClassSharesD,
    KeepClassSharesd,
    KeepClassSharesDict,
    MaskToIndex,
    MaskToIndexD,
    MaskToIndexd,
    MaskToIndexDict,
    SupervisedClassMixd,
)

LABEL = np.array([[[0, 1, 2], [2, 1, 0]]])


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, bool])
@pytest.mark.parametrize("scale", [1, 255])
@pytest.mark.parametrize("channels", [1, 3])
def test_two_classes(dtype, scale, channels):
    binary = LABEL.clip(max=1)
    mask = (binary * scale).astype(dtype).repeat(channels, axis=0)
    out = MaskToIndex(num_classes=2)(mask)
    assert isinstance(out, np.ndarray) and out.dtype == np.uint8
    np.testing.assert_array_equal(out, binary)


def test_more_classes_metadata_and_alpha():
    mask = MetaTensor(torch.as_tensor(LABEL), meta={"filename_or_obj": "a.png"})
    out = MaskToIndex(num_classes=3)(mask)
    assert isinstance(out, MetaTensor) and out.meta["filename_or_obj"] == "a.png"
    assert torch.equal(out.as_tensor(), torch.as_tensor(LABEL, dtype=torch.uint8))
    alpha = torch.cat([torch.as_tensor(LABEL).repeat(3, 1, 1), torch.full((1, 2, 3), 255)])
    assert torch.equal(MaskToIndex(3)(alpha), torch.as_tensor(LABEL, dtype=torch.uint8))
    assert int(MaskToIndex(2)(torch.zeros(1, 2, 2, 2)).sum()) == 0  # nothing but background, 3D


def test_ignore_index_stays():
    mask = torch.tensor([[[0, 1, 255]]])
    assert MaskToIndex(2, ignore_index=255)(mask).tolist() == [[[0, 1, 255]]]


@pytest.mark.parametrize(
    ("values", "num_classes", "message"),
    [
        ([0, 255], 3, "0 and 255"),
        ([0, 3], 3, "class index from 0 to 2"),
        ([0, 1, 254], 2, "254"),
        ([0.0, 0.5], 2, "0.5"),
        ([-1, 0], 2, "-1"),
    ],
)
def test_refused_values(values, num_classes, message):
    mask = MetaTensor(torch.tensor([[values]]), meta={"filename_or_obj": "masks/a.png"})
    with pytest.raises(ValueError, match=message) as error:
        MaskToIndex(num_classes)(mask)
    assert "masks/a.png" in str(error.value)


@pytest.mark.parametrize("ignore_index", [-1, -100, 300])
def test_ignore_index_that_no_byte_holds(ignore_index):
    assert MaskToIndex(2, ignore_index=ignore_index)(torch.tensor([[[0, 1, ignore_index]]])).tolist() == [
        [[0, 1, ignore_index]]
    ]


def test_mask_of_another_size_names_both_files():
    data = {
        "image": MetaTensor(torch.zeros(3, 4, 4), meta={"filename_or_obj": "a.jpg"}),
        "label": MetaTensor(torch.zeros(1, 4, 5), meta={"filename_or_obj": "a.png"}),
    }
    with pytest.raises(ValueError, match=r"'a.png' has the size \(4, 5\), its image 'a.jpg' has \(4, 4\)"):
        MaskToIndexd("label", 2, image_key="image")(data)
    data["label"] = data["label"][..., :4]
    MaskToIndexd("label", 2, image_key="image")(data)


def test_refused_colours():
    with pytest.raises(ValueError, match="3 channels that differ"):
        MaskToIndex(2)(torch.tensor([[[0]], [[1]], [[0]]]))
    with pytest.raises(ValueError, match="2 channels that differ"):  # one-hot, of which channel 0 is the background
        MaskToIndex(2)(torch.tensor([[[1, 1, 0]], [[0, 0, 1]]]))


def test_dictionary():
    data = {"label": torch.as_tensor(LABEL)}
    assert MaskToIndexd("label", 3)(data)["label"].dtype == torch.uint8
    assert MaskToIndexd("label", 3, allow_missing_keys=True)({"image": 1}) == {"image": 1}
    assert MaskToIndexD is MaskToIndexDict is MaskToIndexd


@pytest.mark.parametrize("container", [torch.as_tensor, np.asarray, MetaTensor])
@pytest.mark.parametrize("shape", [(1, 9, 7), (3, 1, 9, 7), (2, 1, 5, 6, 4)])
def test_class_shares_are_those_before_the_mix(container, shape):
    generator = torch.Generator().manual_seed(0)
    before, after = (torch.randint(0, 3, shape, generator=generator) for _ in range(2))
    after[before == 1] = 2  # a mix that changes the shares a lot
    weight = KeepClassShares(num_classes=3, smooth=0.0)(
        container(torch.ones(shape)), container(after), container(before)
    )
    assert isinstance(weight, type(container(torch.ones(1))))
    for index in range(3):
        of_class = np.asarray(weight)[np.asarray(after) == index]
        assert of_class.sum() == pytest.approx(int((before == index).sum()), rel=1e-4) or not (after == index).any()
    # weights that were there already are kept in proportion
    twice = KeepClassShares(3, 0.0)(container(2 * torch.ones(shape)), container(after), container(before))
    assert np.allclose(np.asarray(twice), 2 * np.asarray(weight))


def test_class_shares_of_classes_that_are_nowhere_and_of_ignored_pixels():
    before, after = torch.zeros(1, 1, 10, 10, dtype=torch.long), torch.zeros(1, 1, 10, 10, dtype=torch.long)
    after[..., :2, :] = 1  # pasted, where the teacher knows none
    after[..., 9, :] = 255
    for smooth, least in ((0.0, 0.0), (0.01, 0.01 / 0.21)):
        weight = KeepClassShares(2, smooth)(torch.ones(1, 1, 10, 10), after, before)
        assert weight.isfinite().all()
        assert torch.allclose(weight[after == 1], torch.tensor(least))
        assert (weight[after == 255] == 1).all() and (weight[after == 0] > 1).all()
    same = KeepClassShares(4)(torch.ones(1, 1, 10, 10), before, before)
    assert (same == 1).all()
    for kwargs, message in (({"num_classes": 1}, "num_classes"), ({"num_classes": 2, "smooth": -1}, "smooth")):
        with pytest.raises(ValueError, match=message):
            KeepClassShares(**kwargs)


def test_class_shares_after_a_mix_in_a_dictionary():
    batch = {
        "unlabeled_image": torch.rand(4, 1, 16, 16),
        "pseudo_label": (torch.rand(4, 1, 16, 16) > 0.9).long(),
        "pseudo_weight": torch.full((4, 1, 16, 16), 0.5),
        "image": torch.rand(4, 1, 16, 16),
        "label": (torch.rand(4, 1, 16, 16) > 0.9).long(),
    }
    out_keys = ("mixed_image", "mixed_label", "mixed_weight")
    mix = SupervisedClassMixd(list(batch)[:3], ("image", "label", None), "label", (1,), 2, 2, output_keys=out_keys)
    keep = KeepClassSharesd("mixed_weight", "mixed_label", "pseudo_label", num_classes=2, smooth=0.0)
    mixed, kept = mix(batch), Compose([mix, keep])(batch)
    assert torch.equal(mixed["mixed_label"], kept["mixed_label"])
    ratio = kept["mixed_weight"] / mixed["mixed_weight"]
    vessel = kept["mixed_label"] == 1
    assert float(ratio[vessel].sum()) == pytest.approx(int(batch["pseudo_label"].sum()), rel=1e-4)
    assert KeepClassSharesD is KeepClassSharesDict is KeepClassSharesd
    assert KeepClassSharesd("other", "a", "b", 2, allow_missing_keys=True)({"c": 1}) == {"c": 1}


def test_shares_of_one_hot_labels_are_refused():
    with pytest.raises(ValueError, match=r"of the weight's shape \(2, 1, 4, 4\), got \(2, 3, 4, 4\)"):
        KeepClassShares(3)(torch.ones(2, 1, 4, 4), torch.ones(2, 3, 4, 4), torch.ones(2, 3, 4, 4))
