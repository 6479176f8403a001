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
from pathlib import Path

import numpy as np
import pytest

from monai_sscm.datasets import write_vessel_phantoms
from monai_sscm.planning import fingerprint
from tests.helpers.datasets import blocks, lines, write_dataset, write_picture, write_volume


def test_pictures(tmp_path):
    seen = fingerprint(write_dataset(tmp_path, (30, 40), white=True))
    assert seen.pictures and seen.layout == "folders" and seen.channels == 1 and seen.spacing is None
    assert seen.counts == {"labeled": 2, "unlabeled": 2, "val": 0, "test": 0} and seen.patients == 4
    assert seen.sizes == {"min": [30, 40], "median": [30, 40], "max": [30, 40]}
    assert [(c.name, c.share) for c in seen.classes] == [("background", 0.917), ("foreground", 0.0833)]
    assert seen.classes[1].smallest == 100 and seen.classes[1].masks == 2 and seen.looked_at["masks"] == 2
    assert seen.foreground_percentiles[0][1] > seen.percentiles[0][1]
    assert json.loads(json.dumps(seen.as_json()))["classes"][1]["name"] == "foreground"


def test_volumes_have_their_axes_as_the_network_sees_them(tmp_path):
    seen = fingerprint(write_dataset(tmp_path, (20, 24, 8), spacing=(0.5, 0.75, 4.0)))
    assert not seen.pictures and seen.sizes["median"] == [20, 24, 8]
    assert seen.spacing == [0.5, 0.75, 4.0] and seen.spacing_spread == [1.0, 1.0, 1.0]


def test_share_of_slices_that_have_a_class(tmp_path):
    def draw(_: np.random.RandomState) -> np.ndarray:
        mask = np.zeros((20, 24, 8), np.uint8)
        mask[5:10, 5:10, 2:8] = 1
        mask[12:15, 5:10, 7] = 2
        return mask

    folder = write_dataset(tmp_path, (20, 24, 8), draw=draw)
    assert [c.slices for c in fingerprint(folder).classes] == [1.0, 0.75, 0.125]
    mask = next(folder.glob("labels/*"))
    entry = {"image": f"images/{mask.name}", "label": f"labels/{mask.name}", "labeled_slices": [0, 6, 7, 3]}
    (folder / "list.json").write_text(json.dumps({"training": [entry]}))
    assert [c.slices for c in fingerprint(folder / "list.json").classes] == [1.0, 0.75, 0.25]


def test_thickness_tells_lines_from_blocks(tmp_path):
    thin = fingerprint(write_dataset(tmp_path / "a", (100, 200), draw=lambda r: lines((100, 200), r, 6)))
    assert 5 < thin.classes[1].thickness < 12 and thin.classes[1].elongation > 8
    block = fingerprint(write_dataset(tmp_path / "b", (100, 200)))
    # lines of a pixel that break where they are shrunk by nearest neighbor
    write_vessel_phantoms(tmp_path / "c", num_train=3, num_val=1, num_test=1, size=128)
    vessels = fingerprint(tmp_path / "c").classes[1]
    assert vessels.thickness < 3 and vessels.elongation > 100
    assert block.classes[1].thickness > 12 and block.classes[1].elongation < 4


def test_hounsfield_units(tmp_path):
    def scan(image: np.ndarray) -> np.ndarray:
        return image.astype(np.int16) * 10 - 1000

    seen = fingerprint(write_dataset(tmp_path / "a", (20, 20, 20), intensities=scan))
    assert seen.hounsfield and seen.foreground_percentiles[0][0] > seen.percentiles[0][0]
    assert not fingerprint(write_dataset(tmp_path / "b", (20, 20, 20))).hounsfield


def test_a_class_that_always_lies_on_one_side_fixes_the_axis(tmp_path):
    def draw(random: np.random.RandomState) -> np.ndarray:
        mask = np.zeros((30, 30), np.uint8)
        row = random.randint(0, 25)
        mask[row : row + 4, 4:8] = 1
        mask[30 - row - 4 : 30 - row, 20:24] = 2
        return mask

    names = tuple("abcdefghij")
    assert fingerprint(write_dataset(tmp_path / "a", (30, 30), names, draw=draw)).fixed_axes == [1]
    # too few to tell
    assert fingerprint(write_dataset(tmp_path / "b", (30, 30), names[:7], draw=draw)).fixed_axes == []


def test_patients_are_found_or_told(tmp_path):
    folder = write_dataset(tmp_path, (20, 20), ("p1_visit1", "p1_visit2", "p2_visit1"), ("p3_visit1", "p3_visit2"))
    seen = fingerprint(folder)
    assert seen.patients == 3 and seen.group_pattern
    assert fingerprint(folder, group_pattern=None).patients == 5
    assert fingerprint(folder, group_pattern="(p)").patients == 1
    split = {"train": ["p1_visit1", "p2_visit1"], "val": ["p1_visit2"]}
    (folder / "split.json").write_text(json.dumps(split))
    with pytest.raises(ValueError, match="File names seem to say .*: if that is no patient, --group_pattern null"):
        fingerprint(folder)
    assert fingerprint(folder, group_pattern=None).counts["val"] == 1


def test_masks_that_are_left_out_are_not_looked_at(tmp_path):
    folder = write_dataset(tmp_path, (20, 20), tuple("abcd"))
    seen = fingerprint(folder, num_labeled=1)
    assert seen.counts["labeled"] == 1 and seen.looked_at["masks"] == 1 and seen.counts["unlabeled"] == 3 + 2


def test_the_data_set_names_its_classes_and_one_may_be_absent(tmp_path):
    folder = write_dataset(tmp_path, (20, 20), tuple("ab"), draw=lambda random: 2 * blocks((20, 20), 1, 5, random))
    with pytest.raises(ValueError, match=r"have the values \[0, 2\] \(2 in '.*png' and 1 more\), but none has 1"):
        fingerprint(folder)
    seen = fingerprint(folder, class_names=["background", "vein", "artery"])
    assert [(c.name, c.masks) for c in seen.classes] == [("background", 2), ("vein", 0), ("artery", 2)]
    with pytest.raises(ValueError, match=r"values \[2\] \(2 in '.*png' and 1 more\), but there are 2 classes"):
        fingerprint(folder, class_names=["background", "vein"])


def test_ignored_values_are_no_class(tmp_path):
    def draw(random: np.random.RandomState) -> np.ndarray:
        mask = blocks((20, 20), 2, 5, random)
        mask[0] = 255
        return mask

    folder = write_dataset(tmp_path, (20, 20), draw=draw)
    with pytest.raises(ValueError, match="If 255 marks pixels that are not to be counted: --ignore_index 255"):
        fingerprint(folder)
    seen = fingerprint(folder, ignore_index=255)
    assert [c.name for c in seen.classes] == ["background", "class_1", "class_2"]
    assert sum(c.share for c in seen.classes) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.full((16, 16), 0.5, np.float32), r"has the values \[0.5\]: every pixel must be a class index"),
        (np.full((16, 16), -1, np.int16), r"has the values \[-1\]"),
        (np.zeros((16, 16), np.uint8), "are 0 everywhere: there is nothing to learn"),
    ],
)
def test_masks_that_are_no_masks(tmp_path, mask, message):
    write_volume(tmp_path / "images" / "a.nii.gz", np.random.RandomState(0).rand(16, 16, 16), (1, 1, 1))
    write_volume(tmp_path / "labels" / "a.nii.gz", np.stack([mask] * 16, -1), (1, 1, 1))
    with pytest.raises(ValueError, match=message):
        fingerprint(tmp_path)


def test_image_and_mask_must_lie_on_each_other(tmp_path):
    write_dataset(tmp_path, (20, 20))
    write_picture(tmp_path / "labels" / "b.png", np.eye(10, dtype=np.uint8))
    with pytest.raises(ValueError, match=r"'.*b.png' has the size \(20, 20\), its mask '.*b.png' \(10, 10\)"):
        fingerprint(tmp_path)


def test_only_a_sample_of_many_images_is_read(tmp_path):
    folder = write_dataset(tmp_path, (20, 20), ("a",), ("b",))
    for index in range(300):
        (folder / "unlabeled_images" / f"c{index}.png").write_bytes(
            (folder / "unlabeled_images" / "b.png").read_bytes()
        )
    seen = fingerprint(folder)
    assert seen.counts["unlabeled"] == 301 and seen.looked_at["images"] == 21


def _partly(folder: Path, **extras: list[int]) -> Path:
    """Volumes of 20 slices, of which one is labelled in part, one whole and two not at all."""
    write_dataset(folder, (20, 20, 20), draw=lambda random: blocks((20, 20, 20), 2, 6, random))
    training = [{"image": f"images/{name}.nii.gz", "label": f"labels/{name}.nii.gz"} for name in "ab"]
    training[0] |= extras
    training += [{"image": f"unlabeled_images/{name}.nii.gz"} for name in "xy"]
    (folder / "datalist.json").write_text(json.dumps({"training": training}))
    return folder


def test_images_labeled_in_part_are_counted_once_and_have_their_size(tmp_path):
    seen = fingerprint(_partly(tmp_path, labeled_slices=[3, 10, 19]))
    assert seen.counts == {"labeled": 2, "unlabeled": 2, "val": 0, "test": 0}
    assert (seen.partial, seen.learned_without) == (1, 3)
    assert seen.sizes["min"] == seen.sizes["max"] == [20, 20, 20]
    whole = fingerprint(tmp_path / "datalist.json", num_labeled=2)
    assert sum(c.share for c in whole.classes) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("extras", "message"),
    [
        ({"labeled_slices": [3, 99]}, r"`labeled_slices` name the slice 99, but the mask '.*a.nii.gz' has 20 slices"),
        ({"unlabeled_classes": [2]}, r"says that the mask '.*a.nii.gz' lacks class 2, but pixels of it are there"),
        ({"unlabeled_classes": [3]}, r"`unlabeled_classes` of the mask '.*a.nii.gz' has 3, but classes that may be"),
    ],
)
def test_what_a_list_says_of_a_mask_must_be_so(tmp_path, extras, message):
    with pytest.raises(ValueError, match=message):
        fingerprint(_partly(tmp_path, **extras))


def test_bad_files_are_told_together(tmp_path):
    write_dataset(tmp_path, (20, 20), tuple("abcd"))
    (tmp_path / "images" / "a.png").write_bytes(b"no image")
    write_picture(tmp_path / "labels" / "b.png", np.eye(10, dtype=np.uint8))
    write_picture(tmp_path / "labels" / "c.png", np.eye(20, dtype=np.uint8) * 7)
    with pytest.raises(ValueError, match="There are 3 faults:") as error:
        fingerprint(tmp_path)
    lines_of_error = sorted(str(error.value).splitlines()[1:], key=lambda line: "a.png" not in line)
    assert "a.png" in lines_of_error[0] and len(lines_of_error) == 3
    assert any("has the size (20, 20)" in line for line in lines_of_error)
    assert any("(7 in " in line and "c.png" in line for line in lines_of_error)


def test_every_wrong_value_is_told_with_its_file(tmp_path):
    for name, values in {"d": [0, 255], "e": [0, 1, 7], "f": [0, 1, 255]}.items():
        write_picture(tmp_path / "images" / f"{name}.png", np.eye(20, dtype=np.uint8))
        write_picture(tmp_path / "labels" / f"{name}.png", np.resize(np.array(values, np.uint8), (20, 20)))
    with pytest.raises(ValueError, match=r"\(7 in '\S*e.png', 255 in '\S*.png' and 1 more\), but none has 2") as error:
        fingerprint(tmp_path)
    assert "1 of the masks, such as '" in str(error.value) and "save all in one way" in str(error.value)
    with pytest.raises(ValueError, match=r"values \[7, 255\] \(7 in '\S*e.png', 255 in '\S*d.png' and 1 more\), but"):
        fingerprint(tmp_path, class_names=["background", "vessel"])


def test_a_fraction_that_leaves_no_mask_is_named(tmp_path):
    write_dataset(tmp_path, (20, 20), ("a",))
    with pytest.raises(ValueError, match="Or leave out --val_fraction 0.2, which holds them out"):
        fingerprint(tmp_path, val_fraction=0.2)
