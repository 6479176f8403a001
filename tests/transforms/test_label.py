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

import re

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, Orientation, RandCropByLabelClassesd
from PIL import Image

from monai_sscm.errors import root_cause
from monai_sscm.io import PictureReader, VolumeReader
from monai_sscm.transforms import (
    IGNORED,
    EnsureImageChannelsd,
    HideUnlabeled,
    HideUnlabeledD,
    HideUnlabeledd,
    HideUnlabeledDict,
    KeepClassShares,
    KeepClassSharesD,
    KeepClassSharesd,
    KeepClassSharesDict,
    MaskToIndex,
    MaskToIndexD,
    MaskToIndexd,
    MaskToIndexDict,
    RandCropByClassesd,
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
    alpha[3, 0, 0] = 0  # which of them is the mask
    with pytest.raises(ValueError, match="4 channels that differ"):
        MaskToIndex(3)(alpha)
    assert int(MaskToIndex(2)(torch.zeros(1, 2, 2, 2)).sum()) == 0  # nothing but background, 3D
    assert MaskToIndex(2)(torch.tensor([[[0, 65535]]])).tolist() == [[[0, 1]]]  # of 16 bits
    with pytest.raises(ValueError, match=r"values \[65535\]"):
        MaskToIndex(2)(torch.tensor([[[0, 1, 65535]]]))


@pytest.mark.parametrize("ignore_index", [255, 2, -1, -100, 300])
@pytest.mark.parametrize("foreground", [1, 255])
@pytest.mark.parametrize("dtype", [torch.int16, torch.float32])
def test_the_ignored_value_becomes_255(ignore_index, foreground, dtype):
    if foreground == ignore_index:
        return  # then nothing is foreground
    mask = MetaTensor(torch.tensor([[[0, foreground, ignore_index]]], dtype=dtype))
    out = MaskToIndex(2, ignore_index)(mask)
    assert out.tolist() == [[[0, 1, IGNORED]]] and out.dtype == torch.uint8 and IGNORED == 255
    assert MaskToIndex(2, ignore_index)(mask[..., 2:]).tolist() == [[[255]]]  # nothing but ignored


def test_a_byte_is_no_negative_value():
    with pytest.raises(ValueError, match=r"values \[255\]"):
        MaskToIndex(3, ignore_index=-1)(torch.tensor([[[0, 255]]], dtype=torch.uint8))


def test_a_value_that_may_be_meant_as_ignored():
    with pytest.raises(ValueError, match=r"If 4 stands for pixels that do not count, set `ignore_index` to it"):
        MaskToIndex(3)(torch.tensor([[[0, 2, 4]]]))
    with pytest.raises(ValueError, match="If 128 stands for pixels that do not count"):
        MaskToIndex(2)(torch.tensor([[[0, 128, 255]]]))
    with pytest.raises(ValueError, match="at most 255 classes"):
        MaskToIndex(256)


VOLUME = torch.tensor([[[[0, 1, 2], [0, 0, 1]]]], dtype=torch.uint8)  # 1 x 2 pixels, 3 slices


@pytest.mark.parametrize("container", [torch.as_tensor, np.asarray, MetaTensor])
def test_listed_slices_are_labeled_and_the_others_not(container):
    out = HideUnlabeled(3)(container(VOLUME), labeled_slices=[0, 2])
    assert isinstance(out, type(container(torch.ones(1)))) and np.asarray(out).dtype == np.uint8
    assert np.asarray(out).tolist() == [[[[0, 255, 2], [0, 255, 1]]]]
    assert np.asarray(HideUnlabeled(3)(container(VOLUME), labeled_slices=[])).tolist() == [[[[255] * 3] * 2]]


def test_an_empty_slice_that_is_listed_is_background():
    assert HideUnlabeled(2)(torch.zeros(1, 2, 2, 3), labeled_slices=(1,))[..., 1].sum() == 0


def test_a_slice_of_a_stack_knows_its_number():
    piece = MetaTensor(VOLUME[..., 1:2], meta={"slice": 1})
    assert HideUnlabeled(3)(piece, labeled_slices=[1]).tolist() == VOLUME[..., 1:2].tolist()
    assert HideUnlabeled(3)(piece, labeled_slices=[0, 2]).tolist() == [[[[255], [255]]]]


@pytest.mark.parametrize("mask", [VOLUME, VOLUME[..., 1]])
def test_the_background_is_not_known_where_a_class_is_unlabeled(mask):
    mask = torch.where(mask == 2, 0, mask)
    out = HideUnlabeled(3)(mask, unlabeled_classes=[2])
    assert torch.equal(out == 255, mask == 0) and torch.equal(out == 1, mask == 1)
    both = HideUnlabeled(3)(VOLUME.clamp(max=1), [2], [2])
    assert both.tolist() == [[[[255, 255, 1], [255, 255, 1]]]]


@pytest.mark.parametrize(
    ("slices", "classes", "message"),
    [
        ([0, 3], None, "name the slice 3, but the mask 'a.nii.gz' has 3 slices, 0 to 2"),
        ([-1], None, "name the slice -1, but the mask 'a.nii.gz'"),
        ("02", None, "`labeled_slices` of the mask 'a.nii.gz' must be a list of whole numbers"),
        ([1.5], None, "must be a list of whole numbers"),
        (None, [2], "says that the mask 'a.nii.gz' lacks class 2, but pixels of it are there"),
        (None, [0], "of the mask 'a.nii.gz' has 0, but classes that may be unlabeled go from 1 to 2"),
        (None, [3], "go from 1 to 2"),
        (None, [True], "must be a list of whole numbers"),
    ],
)
def test_wrong_lists_name_the_file(slices, classes, message):
    mask = MetaTensor(VOLUME, meta={"filename_or_obj": "a.nii.gz"})
    with pytest.raises(ValueError, match=message):
        HideUnlabeled(3)(mask, slices, classes)


def test_a_picture_has_no_slices():
    with pytest.raises(ValueError, match="`labeled_slices` are of volumes, but the mask 'a.png' is no volume"):
        HideUnlabeled(2)(MetaTensor(torch.zeros(1, 4, 4), meta={"filename_or_obj": "a.png"}), labeled_slices=[0])


def test_hiding_in_a_dictionary():
    hide = HideUnlabeledd("label", 3, allow_missing_keys=True)
    item = {"image": 1, "label": VOLUME, "labeled_slices": [1], "unlabeled_classes": []}
    assert hide(item)["label"].unique().tolist() == [0, 1, 255] and sorted(hide(item)) == ["image", "label"]
    assert hide({"image": 1, "unlabeled_classes": [2]}) == {"image": 1}  # as an unlabelled image: fits into a batch
    assert hide({"label": VOLUME})["label"] is VOLUME
    assert HideUnlabeledD is HideUnlabeledDict is HideUnlabeledd


@pytest.mark.parametrize("spatial", [(12, 12), (8, 8, 6)])
def test_crops_are_centered_on_labeled_pixels(spatial):
    label = torch.full((1, *spatial), IGNORED, dtype=torch.uint8)
    position = (0, *(n - 2 for n in spatial))
    label[position] = 1
    crop = RandCropByClassesd("label", "label", (3,) * len(spatial), num_classes=2, ratios=[1, 1])
    for seed in range(10):
        assert (crop.set_random_state(seed)({"label": label})[0]["label"] == 1).sum() == 1


@pytest.mark.parametrize("spatial", [(12, 12), (8, 8, 6)])
@pytest.mark.parametrize("value", [0, IGNORED])
def test_labels_without_the_classes_are_cropped_anywhere(spatial, value):
    label, size = torch.full((1, *spatial), value), (3,) * len(spatial)
    crop = RandCropByClassesd(["image", "label"], "label", size, num_classes=2, ratios=[0, 1])
    image = torch.arange(label.numel()).reshape(label.shape)
    places = {int(crop.set_random_state(i)({"image": image, "label": label})[0]["image"].min()) for i in range(20)}
    assert len(places) > 5


def test_crops_around_classes_are_monai_s():
    label = torch.randint(0, 3, (1, 20, 20))
    croppers = [cls("label", "label", (6, 6), [1, 1, 2], 3) for cls in (RandCropByClassesd, RandCropByLabelClassesd)]
    for seed in range(5):
        ours, theirs = (crop.set_random_state(seed)({"label": label})[0]["label"] for crop in croppers)
        assert torch.equal(ours, theirs)


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


def test_mask_of_another_size_names_both_files():
    data = {
        "image": MetaTensor(torch.zeros(3, 4, 4), meta={"filename_or_obj": "a.jpg"}),
        "label": MetaTensor(torch.zeros(1, 4, 5), meta={"filename_or_obj": "a.png"}),
    }
    with pytest.raises(ValueError, match=r"'a.png' has the size \(4, 5\), its image 'a.jpg' has \(4, 4\)"):
        MaskToIndexd("label", 2, image_key="image")(data)
    data["label"] = data["label"][..., :4]
    MaskToIndexd("label", 2, image_key="image")(data)


def slice_of(folder, name: str, array: np.ndarray, one_slice: bool = False) -> str:
    """A single slice as a picture or as NIfTI, in the axes of the array."""
    path = folder / name
    if name.endswith(".png"):
        Image.fromarray(array).save(path)
    else:
        # of volumes at least one slice
        nibabel.save(nibabel.Nifti1Image(array[..., None] if one_slice else array, np.diag([-1, -1, 1, 1])), path)
    return str(path)


def load_pair(image: str, mask: str, reader) -> dict:
    load = Compose(
        [
            LoadImaged("image", reader=reader),
            LoadImaged("label", reader=reader),
            EnsureChannelFirstd(["image", "label"]),
            EnsureImageChannelsd("image", num_channels=1, spatial_dims=2 if isinstance(reader, PictureReader) else 3),
            MaskToIndexd("label", 2, image_key="image"),
        ]
    )
    return load({"image": image, "label": mask})


@pytest.mark.parametrize("reader", [PictureReader(), VolumeReader(mask=True)], ids=["pictures", "volumes"])
@pytest.mark.parametrize("names", [("a.png", "b.nii.gz"), ("a.nii", "b.png")])
def test_pictures_and_volumes_agree_or_are_refused(tmp_path, reader, names):
    values = np.random.default_rng(0).integers(0, 2, (12, 20)).astype(np.uint8)
    image, mask = slice_of(tmp_path, names[0], values * 9, True), slice_of(tmp_path, names[1], values, True)
    pair = load_pair(image, mask, reader)
    assert (pair["image"].squeeze() == 9 * pair["label"].squeeze()).all() and pair["label"].shape[1:3] == (12, 20)
    mask = slice_of(tmp_path, names[1], values.T.copy(), True)
    with pytest.raises(RuntimeError) as error:
        load_pair(image, mask, reader)
    assert re.search(rf"mask '.*{names[1]}' is transposed to its image '.*{names[0]}'", str(root_cause(error.value)))
    square = values[:, :12].copy()
    image, mask = slice_of(tmp_path, names[0], square * 9, True), slice_of(tmp_path, names[1], square, True)
    with pytest.raises(RuntimeError) as error:
        load_pair(image, mask, reader)
    assert re.search(
        rf"mask '.*{names[1]}' may be transposed to its image '.*{names[0]}', as .*12, 12.* fits both ways",
        str(root_cause(error.value)),
    )


@pytest.mark.parametrize("shapes", [((12, 12, 1), (12, 12, 1)), ((12, 20), (12, 20, 1)), ((12, 20, 1), (12, 20))])
def test_a_single_slice_may_have_an_axis_of_one(tmp_path, shapes):
    values = np.random.default_rng(0).integers(0, 2, shapes[0][:2]).astype(np.uint8)
    image = slice_of(tmp_path, "a.nii.gz", values.reshape(shapes[0]) * 9)
    mask = slice_of(tmp_path, "b.nii.gz", values.reshape(shapes[1]))
    pair = load_pair(image, mask, PictureReader())
    assert pair["image"].shape == pair["label"].shape == (1, *shapes[0][:2])
    assert (pair["image"] == 9 * pair["label"]).all() and int(pair["label"].sum()) == values.sum()


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
    for smooth, least in ((0.0, 0.0), (0.01, 0.01 / (20 / 90 + 0.01))):
        weight = KeepClassShares(2, smooth)(torch.ones(1, 1, 10, 10), after, before)
        assert weight.isfinite().all()
        assert torch.allclose(weight[after == 1], torch.tensor(least))
        assert (weight[after == 255] == 1).all() and (weight[after == 0] > 1).all()
    same = KeepClassShares(4)(torch.ones(1, 1, 10, 10), before, before)
    assert (same == 1).all()
    for kwargs, message in (({"num_classes": 1}, "num_classes"), ({"num_classes": 2, "smooth": -1}, "smooth")):
        with pytest.raises(ValueError, match=message):
            KeepClassShares(**kwargs)


@pytest.mark.parametrize("shape", [(2, 1, 9, 7), (2, 1, 5, 6, 4)])
def test_class_shares_are_of_what_counts(shape):
    """Where a teacher is sure of few pixels of one class, these count as much as the class is frequent."""
    generator = torch.Generator().manual_seed(0)
    before, after = (torch.randint(0, 3, shape, generator=generator) for _ in range(2))
    sure = torch.rand(shape, generator=generator) < torch.tensor([0.9, 0.1, 0.5])[after]
    weight = KeepClassShares(3, smooth=0.0)(sure.float(), after, before)
    assert (weight[~sure] == 0).all()
    assert float(weight.sum()) == pytest.approx(float(sure.sum()), rel=1e-4)
    for index in range(3):
        share = float(weight[after == index].sum() / weight.sum())
        assert share == pytest.approx(float((before == index).float().mean()), rel=1e-4)
    assert (KeepClassShares(3)(torch.zeros(shape), after, before) == 0).all()


@pytest.mark.parametrize("shape", [(2, 1, 9, 7), (2, 1, 5, 6, 4)])
def test_class_shares_are_of_the_pixels_that_have_a_class(shape):
    generator = torch.Generator().manual_seed(0)
    before, after = (torch.randint(0, 3, shape, generator=generator) for _ in range(2))
    before[0], after[:, :, ::2] = IGNORED, IGNORED
    weight = KeepClassShares(3, smooth=0.0)(torch.ones(shape), after, before)
    known, kept = before[before != IGNORED], after != IGNORED
    assert (weight[~kept] == 1).all()
    for index in range(3):
        share = float(weight[after == index].sum()) / int(kept.sum())
        assert share == pytest.approx(float((known == index).float().mean()), rel=1e-4)
    nothing = torch.full(shape, IGNORED)
    assert (KeepClassShares(3)(torch.ones(shape), nothing, nothing) == 1).all()


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
    vessel = kept["mixed_label"] == 1
    share = float(kept["mixed_weight"][vessel].sum() / kept["mixed_weight"].sum())
    assert share == pytest.approx(float(batch["pseudo_label"].float().mean()), rel=1e-4)
    assert float(kept["mixed_weight"].sum()) == pytest.approx(float(mixed["mixed_weight"].sum()), rel=1e-4)
    assert KeepClassSharesD is KeepClassSharesDict is KeepClassSharesd
    assert KeepClassSharesd("other", "a", "b", 2, allow_missing_keys=True)({"c": 1}) == {"c": 1}


def test_shares_of_one_hot_labels_are_refused():
    with pytest.raises(ValueError, match=r"of the weight's shape \(2, 1, 4, 4\), got \(2, 3, 4, 4\)"):
        KeepClassShares(3)(torch.ones(2, 1, 4, 4), torch.ones(2, 3, 4, 4), torch.ones(2, 3, 4, 4))


def test_a_mask_that_is_stored_in_other_axes_is_turned_to_its_volume():
    """As one that another program wrote: the same voxels, in another order."""
    values = torch.randint(0, 3, (1, 4, 5, 6), dtype=torch.uint8)
    image = MetaTensor(values.float(), affine=torch.diag(torch.tensor([-1.0, -1.0, 2.0, 1.0])))
    stored = Orientation("PIR", labels=(("L", "R"), ("P", "A"), ("I", "S")))(MetaTensor(values, affine=image.affine))
    assert stored.shape == (1, 5, 6, 4)
    to_index = MaskToIndexd("label", num_classes=3, image_key="image")
    out = to_index({"image": image, "label": stored})["label"]
    assert torch.equal(out.as_tensor(), values) and torch.equal(out.affine, image.affine)
    stored.affine[0, 3] += 3
    with pytest.raises(ValueError, match="does not lie where its image"):
        to_index({"image": image, "label": stored})
