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

import json
import math
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from monai_sscm.evaluation import evaluate_masks
from monai_sscm.io.writing import write_label_descriptions


def picture(path: Path, mask: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)
    return path


def volume(path: Path, mask: np.ndarray, spacing=(1.0, 1.0, 3.0), origin=(0.0, 0.0, 0.0)) -> Path:
    """Axes of the array are X, Y, Z."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(np.ascontiguousarray(mask.T))
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    sitk.WriteImage(image, str(path))
    return path


def box(value: int = 1, columns=slice(2, 6), size=(12, 10)) -> np.ndarray:
    mask = np.zeros(size, np.uint8)
    mask[columns, 3:7] = value
    return mask


def scores(ours: Path, theirs: Path, **kwargs) -> list[dict]:
    return evaluate_masks(ours, theirs, **kwargs).rows()


@pytest.mark.parametrize("write", [picture, volume])
def test_scores_a_second_way(tmp_path, write):
    random = np.random.RandomState(0)
    size, suffix = ((12, 10), ".png") if write is picture else ((12, 10, 4), ".nii.gz")
    pairs = [random.randint(0, 4, (2, *size)).astype(np.uint8) for _ in range(2)]
    for i, (ours, theirs) in enumerate(pairs):
        write(tmp_path / "masks" / f"case_{i}_seg{suffix}", ours)
        write(tmp_path / "labels" / f"case_{i}{suffix}", theirs)
    result = evaluate_masks(tmp_path / "masks", tmp_path / "labels")
    rows = result.rows()
    assert [(row["case"], row["class"]) for row in rows] == [
        (f"case_{i}", f"class {c}") for i in range(2) for c in (1, 2, 3)
    ]
    for row in rows:
        (ours, theirs), c = pairs[int(row["case"][-1])], int(row["class"][-1])
        both, either = ((ours == c) & (theirs == c)).sum(), ((ours == c) | (theirs == c)).sum()
        assert row["iou"] == pytest.approx(both / either)
        assert row["dice"] == pytest.approx(2 * both / ((ours == c).sum() + (theirs == c).sum()))
        assert row["hd95"] > 0 and row["hd95_unit"] == ("pixels" if write is picture else "mm")
    ours, theirs = (np.stack(masks) for masks in zip(*pairs, strict=True))
    pooled = 200 * ((ours == 2) & (theirs == 2)).sum() / ((ours == 2).sum() + (theirs == 2).sum())
    mean = 100 * np.mean([row["dice"] for row in rows if row["class"] == "class 2"])
    cells = result.table().splitlines()[2].split()
    assert cells[:4] == ["class", "2", "2", f"{mean:.1f}"] and cells[6] == f"{pooled:.1f}"


def test_distances_are_in_mm_where_voxels_have_a_size(tmp_path):
    ours, theirs = np.zeros((2, 12, 10, 6), np.uint8)
    ours[3, 3, 1] = theirs[3, 3, 4] = 1
    a, b = volume(tmp_path / "a.mha", ours), volume(tmp_path / "b.nii.gz", theirs)
    assert scores(a, b)[0]["hd95"] == pytest.approx(9.0)


def test_a_class_that_is_absent(tmp_path):
    for i, (ours, theirs) in enumerate([(0, 0), (1, 0), (0, 1), (1, 1)]):
        picture(tmp_path / "masks" / f"{i}.png", box(ours))
        picture(tmp_path / "labels" / f"{i}.png", box(theirs))
    result = evaluate_masks(tmp_path / "masks", tmp_path / "labels")
    dice, distances = ([row[key] for row in result.rows()] for key in ("dice", "hd95"))
    assert math.isnan(dice[0]) and dice[1:] == [0, 0, 1]
    assert [math.isnan(distance) for distance in distances] == [True, True, True, False]
    assert result.table().splitlines()[1].split() == "class 1 3 33.3 33.3 0.0 50.0 33.3 1 1".split()


def test_pixels_that_do_not_count(tmp_path):
    """Outside the field of view, and those that nobody labelled."""
    ours, theirs = box(columns=slice(0, 12)), box(columns=slice(0, 6))
    a, b = picture(tmp_path / "a_seg.png", ours), picture(tmp_path / "a.png", theirs)
    assert scores(a, b)[0]["iou"] == 0.5
    inside = np.zeros((12, 10), np.uint8)
    inside[:6] = 255
    assert scores(a, b, within=picture(tmp_path / "field.png", inside))[0]["iou"] == 1.0
    theirs[6:] = 255
    picture(tmp_path / "a.png", theirs)
    with pytest.raises(ValueError, match=r"a.png' has the values \[255\], .* give --ignore_index"):
        scores(a, b)
    row = scores(a, b, ignore_index=255)[0]
    assert (row["iou"], row["hd95"], row["predicted_voxels"]) == (1.0, 0.0, 24)


def test_names_of_masks(tmp_path):
    """As `predict` writes them, beside overlays and probabilities; the truth with more behind the name."""
    for name in ("p1/a_seg.png", "p1/a_overlay.png", "p1/a_prob_vessel.png", "b_seg.png", "c_seg.png"):
        picture(tmp_path / "masks" / name, box())
    for name in ("labels/p1/a.png", "labels/b_manual_1.png", "images/a.png"):
        picture(tmp_path / "data" / name, box())
    for name in ("p1/a_fov.png", "b.png"):
        picture(tmp_path / "fields" / name, np.ones((12, 10), np.uint8))
    result = evaluate_masks(tmp_path / "masks", tmp_path / "data", tmp_path / "fields")
    assert [(row["case"], row["dice"]) for row in result.rows()] == [("b", 1.0), ("p1/a", 1.0)]
    assert result.table().splitlines()[-1] == "1 without a true mask, not scored: c"
    volume(tmp_path / "volumes" / "d.seg.nrrd", np.zeros((4, 4, 4), np.uint8))
    volume(tmp_path / "truth" / "d.nrrd", np.zeros((4, 4, 4), np.uint8))
    assert scores(tmp_path / "volumes", tmp_path / "truth")[0]["case"] == "d"


def test_names_that_a_data_set_pairs_too(tmp_path):
    """nnU-Net's only channel, and what names seem to mean; each by the name of its image."""
    for name in ("case_0000", "21_training", "a_0000", "b_0000"):
        picture(tmp_path / "masks" / f"{name}_seg.png", box())
    for name in ("case.png", "21_manual1.gif", "a_0000.png", "b.png"):
        picture(tmp_path / "labels" / name, box())
    rows = evaluate_masks(tmp_path / "masks", tmp_path / "labels").rows()
    assert [row["case"] for row in rows] == ["21_training", "a_0000", "b", "case"]
    picture(tmp_path / "masks" / "b_seg.png", box())
    result = evaluate_masks(tmp_path / "masks", tmp_path / "labels")
    assert list(result.unlabeled) == ["b_0000"]


def test_masks_beside_their_images(tmp_path):
    picture(tmp_path / "masks" / "p1" / "a_seg.png", box())
    for name in ("a", "a_mask"):
        picture(tmp_path / "data" / "p1" / f"{name}.png", box(0 if name == "a" else 1))
    assert [(row["case"], row["dice"]) for row in scores(tmp_path / "masks", tmp_path / "data")] == [("p1/a", 1.0)]
    # in the folder of masks of a data set too
    (tmp_path / "data" / "p1").rename(tmp_path / "data" / "labels")
    assert [(row["case"], row["dice"]) for row in scores(tmp_path / "masks", tmp_path / "data")] == [("a", 1.0)]


@pytest.mark.parametrize("image", ["a.png", "images/a.png", "test/a.png"])
@pytest.mark.parametrize("folder", ["", "images/", "p1/"])
def test_predictions_of_a_folder_above_or_below(tmp_path, image, folder):
    """And of one in the data set, whose name may be that of a folder of true masks."""
    data = tmp_path / "data"
    picture(data / "masks" / f"{folder}a_seg.png", box())
    picture(data / image, box(0))
    picture(data / image.replace("a.png", "a_mask.png"), box(1, 4))
    rows = scores(data / "masks", data)
    assert len(rows) == 1 and rows[0]["dice"] < 1


def test_names_of_classes_beside_the_masks(tmp_path):
    mask = picture(tmp_path / "masks" / "a_seg.png", box())
    label = picture(tmp_path / "labels" / "a.png", box())
    assert evaluate_masks(mask, label).rows()[0]["class"] == "class 1"
    write_label_descriptions(["background", "vessel", "lesion"], tmp_path / "masks" / "labels.txt")
    for ours in (mask, tmp_path / "masks"):
        assert [row["class"] for row in scores(ours, label)] == ["vessel", "lesion"]
    assert [row["class"] for row in scores(mask, label, class_names=["a", "b"])] == ["b"]
    (tmp_path / "masks" / "labels.txt").write_text("a vessel")
    assert scores(mask, label)[0]["class"] == "class 1"


def test_a_part_of_a_data_set(tmp_path):
    """By its split.json, or by the data list that it has."""
    data = tmp_path / "data"
    for name in "abcd":
        picture(data / "images" / f"{name}.png", box())
        picture(data / "labels" / f"{name}_mask.png", box())
    for name in "bc":
        picture(tmp_path / "masks" / f"{name}_seg.png", box())
    (data / "split.json").write_text('{"train": ["a"], "val": ["b", "c"], "test": ["d"]}')
    with pytest.raises(FileNotFoundError, match="2 of 4 true masks have no prediction .* give --part if"):
        evaluate_masks(tmp_path / "masks", data)
    assert [row["case"] for row in scores(tmp_path / "masks", data, part="val")] == ["b", "c"]
    with pytest.raises(FileNotFoundError, match="1 of 1 true masks have no prediction in"):
        evaluate_masks(tmp_path / "masks", data, part="test")
    (data / "split.json").write_text('{"train": ["a", "b"]}')
    with pytest.raises(ValueError, match="No labeled image of '.*data' is in the part 'val': name them in its split"):
        evaluate_masks(tmp_path / "masks", data, part="val")
    items = {name: {"image": f"images/{name}.png", "label": f"labels/{name}_mask.png"} for name in "abc"}
    listed = tmp_path / "data" / "list.json"
    listed.write_text(json.dumps({"training": [items["a"]], "validation": [items["b"], items["c"]]}))
    assert [row["case"] for row in scores(tmp_path / "masks", listed, part="val")] == ["b", "c"]


@pytest.mark.parametrize("write", [picture, volume])
def test_distances_do_not_see_pixels_that_do_not_count(tmp_path, write):
    """Neither ours nor the truth's; a class that is only there is absent; pooled scores leave them out too."""
    suffix, shape = (".png", (16, 12)) if write is picture else (".nii.gz", (16, 12, 5))
    ours, theirs = np.zeros((2, *shape), np.uint8)
    ours[2:5, 3:7], theirs[2:6, 3:7] = 1, 1
    plain = scores(write(tmp_path / f"p_seg{suffix}", ours), write(tmp_path / f"p{suffix}", theirs))[0]
    assert plain["hd95"] == 1.0
    inside = np.ones(shape, np.uint8)
    inside[10:] = 0
    field = write(tmp_path / f"field{suffix}", inside)
    for change in ("ours", "theirs", "class"):
        a, b = ours.copy(), theirs.copy()
        if change == "ours":
            a[12:15] = 1
        else:
            b[12:15] = 1 if change == "theirs" else 2
        names = ["background", "a", "b"]
        # outside the field of view
        folder = tmp_path / change / "within"
        write(folder / f"x_seg{suffix}", a), write(folder / "labels" / f"x{suffix}", b)
        results = [evaluate_masks(folder / f"x_seg{suffix}", folder / "labels", field, names)]
        # ignored, with and without a field of view that leaves out something else
        folder = tmp_path / change / "ignored"
        write(folder / f"x_seg{suffix}", a), write(folder / "labels" / f"x{suffix}", np.where(inside, b, 255))
        results.append(evaluate_masks(folder / f"x_seg{suffix}", folder / "labels", None, names, ignore_index=255))
        narrow = inside.copy()
        narrow[:, 10:] = 0
        narrow = write(folder / f"narrow{suffix}", narrow)
        # a value that is none of a class, where nothing counts
        results.append(evaluate_masks(folder / f"x_seg{suffix}", folder / "labels", field, names))
        results.append(evaluate_masks(folder / f"x_seg{suffix}", folder / "labels", narrow, names, ignore_index=255))
        for result in results:
            first, second = result.rows()
            assert {key: first[key] for key in plain if key not in ("case", "class")} == {
                key: plain[key] for key in plain if key not in ("case", "class")
            }
            assert (second["true_voxels"], second["predicted_voxels"]) == (0, 0)
            assert math.isnan(second["dice"]) and math.isnan(second["hd95"])
            lines = result.table().splitlines()
            assert lines[1].split()[5] == f"{100 * plain['dice']:.1f}" and lines[2].split()[1:3] == ["0", "nan"]


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        (["a"], ["a", "b"], r"1 of 2 true masks have no prediction in '.*', such as \['.*b.png'\]: .* give --part"),
        (["a"], ["a_1", "a_2"], r"The image 'a' has 2 masks, \['a_1.png', 'a_2.png'\]: keep one"),
        ([], ["a"], "There is no mask or folder"),
        (["a"], [], "There is no mask or folder"),
    ],
)
def test_masks_without_a_partner(tmp_path, ours, theirs, message):
    for folder, names in (("masks", ours), ("labels", theirs)):
        for name in names:
            picture(tmp_path / folder / f"{name}.png", box())
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        evaluate_masks(tmp_path / "masks", tmp_path / "labels")


def test_a_field_of_view_that_is_missing(tmp_path):
    for folder, name in (("masks", "a"), ("labels", "a"), ("fields", "b")):
        picture(tmp_path / folder / f"{name}.png", box())
    with pytest.raises(FileNotFoundError, match="labels/a.png' has no field of view in '.*fields': add it"):
        evaluate_masks(tmp_path / "masks", tmp_path / "labels", tmp_path / "fields")


def test_masks_that_are_not_on_one_grid(tmp_path):
    a = picture(tmp_path / "a.png", box())
    with pytest.raises(ValueError, match=r"a.png' has the size \(12, 10\) and '.*b.png' \(12, 11\)"):
        scores(a, picture(tmp_path / "b.png", box(size=(12, 11))))
    mask = np.zeros((6, 5, 4), np.uint8)
    first = volume(tmp_path / "first.nii.gz", mask)
    for values in ({"origin": (2.0, 0.0, 0.0)}, {"spacing": (1.0, 1.0, 4.0)}):
        with pytest.raises(ValueError, match="first.nii.gz' and '.*other.mha' lie in different places"):
            scores(first, volume(tmp_path / "other.mha", mask, **values))
    assert scores(first, volume(tmp_path / "other.mha", mask, origin=(1e-3, 0.0, 0.0)))  # rounded


@pytest.mark.parametrize(
    ("mask", "names", "message"),
    [
        (box(3), ["background", "vessel"], r"has the values \[3\], but each pixel must be a class index from 0 to 1"),
        (np.repeat(box()[..., None], 3, -1) * np.array([1, 0, 2], np.uint8), None, "is in color"),
    ],
)
def test_what_is_no_mask(tmp_path, mask, names, message):
    a, b = picture(tmp_path / "a.png", box()), picture(tmp_path / "b.png", mask)
    with pytest.raises(ValueError, match=f"b.png' {message}"):
        scores(a, b, class_names=names)


def test_masks_of_0_and_255_beside_others(tmp_path):
    for i, mask in enumerate((box(255), box(2))):
        picture(tmp_path / "masks" / f"{i}.png", box())
        picture(tmp_path / "labels" / f"{i}.png", mask)
    with pytest.raises(ValueError, match=r"0.png' has the values 0 and 255, others have 3 classes"):
        evaluate_masks(tmp_path / "masks", tmp_path / "labels")


LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def nifti(path: Path, mask: np.ndarray, affine: np.ndarray = LPS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(mask, affine), path)
    return path


@pytest.mark.parametrize("axes", [(), (1,), (1, 1)])
@pytest.mark.parametrize("ours", ["a.png", "a.nii.gz"])
def test_a_picture_and_nifti_are_shown_to_lie_the_same_way_up(tmp_path, ours, axes):
    """Or refused: transposed, square, mirrored or turned ones cannot be told from those that are not."""
    names = (ours, "b.nii" if ours == "a.png" else "b.png")

    def pair(first: np.ndarray, second: np.ndarray, affine: np.ndarray = LPS) -> list[dict]:
        made = []
        for name, mask in zip(names, (first, second), strict=True):
            is_picture = name.endswith(".png")
            path = tmp_path / name
            made.append(picture(path, mask) if is_picture else nifti(path, mask.reshape(*mask.shape, *axes), affine))
        return scores(*made)

    mask = box()
    assert pair(mask, mask)[0]["dice"] == 1.0
    with pytest.raises(ValueError, match=f"'.*{names[0]}' is transposed to '.*{names[1]}', with"):
        pair(mask, mask.T.copy())
    square = mask[:, :10][:10].copy()
    with pytest.raises(ValueError, match=f"'.*{names[0]}' may be transposed to .* fits both ways"):
        pair(square, square)
    for signs in ([1, 1, 1, 1], [-1, 1, 1, 1], [1, -1, 1, 1]):
        with pytest.raises(ValueError, match=f"'.*{names[0]}' may lie another way up than '.*{names[1]}'"):
            pair(mask, mask, np.diag(np.array(signs, float)))


def test_a_field_of_view_lies_the_same_way_up_too(tmp_path):
    a, b = nifti(tmp_path / "a.nii", box(size=(10, 10))), nifti(tmp_path / "b.nii", box(size=(10, 10)))
    with pytest.raises(ValueError, match="'.*a.nii' may be transposed to '.*field.png'"):
        scores(a, b, within=picture(tmp_path / "field.png", np.ones((10, 10), np.uint8)))


@pytest.mark.parametrize("turn", [(0, 1, 2), (1, 0, 2), (2, 0, 1)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1)])
def test_volumes_that_are_stored_in_other_axes(tmp_path, turn, signs):
    """As another program saves a mask: turned onto the predicted one, and scored voxel by voxel."""
    random = np.random.default_rng(0)
    ours, theirs = random.integers(0, 2, (2, 6, 5, 4)).astype(np.uint8)
    affine = np.diag([-1.0, -1.5, 3.0, 1.0])
    affine[:3, 3] = 7, -3, 11
    stored = nibabel.Nifti1Image(theirs, affine).as_reoriented(
        np.array([[turn.index(i), signs[i]] for i in range(3)], float)
    )
    nibabel.save(stored, tmp_path / "b.nii.gz")
    row = scores(nifti(tmp_path / "a.nii.gz", ours, affine), tmp_path / "b.nii.gz")[0]
    assert row["dice"] == pytest.approx(2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()))
    assert stored.shape == theirs.shape or turn != (0, 1, 2)


def test_values_that_are_no_numbers(tmp_path):
    a, b = nifti(tmp_path / "a.nii", box()), nifti(tmp_path / "b.nii", np.where(box() > 0, np.nan, 0.0))
    with pytest.raises(ValueError, match=r"b.nii' has the values \[nan\], but each pixel must be a class index"):
        scores(a, b)


def test_masks_of_0_and_65535(tmp_path):
    a, b = picture(tmp_path / "a.png", box()), picture(tmp_path / "b.png", box().astype(np.uint16) * 65535)
    assert scores(a, b)[0]["dice"] == 1.0
