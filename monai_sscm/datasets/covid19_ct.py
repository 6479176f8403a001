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

"""Lists of chest CT for semi-supervised training: slices as pictures, a stack of slices, or a folder of scans."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_sscm.data import datalist_of_layout, select_labeled
from monai_sscm.data.datalist import patients, refuse_leaks
from monai_sscm.data.layouts import Layout, read_layout
from monai_sscm.data.layouts.split import apply_split, read_split
from monai_sscm.data.listing import log_listing
from monai_sscm.io import PictureReader, VolumeReader
from monai_sscm.io.files import image_name, in_natural_order
from monai_sscm.io.volumes import is_scan
from monai_sscm.transforms import export_window

__all__ = ["COVID19_CT_SPLIT", "covid19_ct_datalist"]

#: The "100 slices" of MedSeg by the numbers of their slices. There are no patient ids: slices that look like one
#: patient are kept together. Slices 22 and 48, which the copy that circulates as pictures lacks, are in no part.
COVID19_CT_SPLIT: dict[str, list[Any]] = json.loads(
    Path(__file__).with_name("covid19_ct_split.json").read_text("utf-8")
)
_STACK, _STACK_MASK = "tr_im.nii.gz", "tr_mask.nii.gz"
_logger = logging.getLogger(__name__)
# a volume that is a mask
_MASK = re.compile(r"(^|[_-])(mask|msk|seg|label)")
# a slice of a scan, as a picture
_SLICE = re.compile(r"(.+)_\d+$")
# the consolidations, of which each list of labelled slices is to have some
_RARE = 2


def covid19_ct_datalist(
    dataset_dir: str | Path,
    num_labeled: int | None = None,
    seed: int = 0,
    group_pattern: str | None = None,
    unlabeled_images: bool = True,
    val_fraction: float = 0.0,
    train_on_test_images: bool = False,
) -> dict[str, list[dict[str, Any]]]:
    """
    List chest CT as labelled, unlabelled, validation and test images. The data set has one of these layouts:

    - slices as pictures: ``images/``, ``labels/`` and ``unlabeled_images/``, see
      :py:func:`monai_sscm.data.semi_supervised_datalist`; unlabelled slices named ``<scan>_<number>`` are of one scan;
    - the "100 slices" as MedSeg released them: ``tr_im.nii.gz`` and ``tr_mask.nii.gz``, stacks of slices of
      different patients; further volumes beside them are unlabelled;
    - scans: ``images/``, ``labels/`` and ``unlabeled_images/`` with NIfTI, MHA or NRRD volumes, or with a folder for
      each DICOM series; or any other layout of :py:func:`monai_sscm.data.layouts.read_layout`.

    Without a ``split.json`` the released slices, in either form, are split as in :py:data:`COVID19_CT_SPLIT`. Of the
    training images ``num_labeled``
    keep their masks, at least half of them with class 2, consolidation, and from as many patients as possible; see
    :py:func:`monai_sscm.data.select_labeled`.

    Args:
        dataset_dir: the folder.
        num_labeled: how many training images (slices in the first two layouts, scans in the third) keep their masks.
            None: all.
        seed: chooses them.
        group_pattern: regular expression whose first group is the patient in a file name. None: each scan is a patient
            of its own, unless the split's ``kept_together`` says otherwise.
        unlabeled_images: whether to use images without masks beside the training images that give up theirs.
        val_fraction: share of the patients of other data that validates, where the data set does not say who does.
        train_on_test_images: whether test images without masks are trained on as unlabelled ones.

    Returns:
        lists by ``labeled``, ``unlabeled``, ``val`` and ``test`` of items with ``image``, ``label`` (unlabelled ones
        have none) and ``group``, the patient, or the scan of an unlabelled slice. Items of a stack have ``slice``, the
        index. Pictures of an unlabelled scan with several slices have its ``export_window``, see
        :py:func:`monai_sscm.transforms.export_window`.

    Raises:
        FileNotFoundError: when the folder, an image or a mask is missing.
        ValueError: when names are ambiguous, a patient is on two sides, stacks differ in size, or there are fewer
            images than asked for.
    """
    root = Path(dataset_dir)
    masked: set[str] = set()
    if (root / _STACK).is_file():
        parts = _released_stack(root, num_labeled, seed, group_pattern)
    else:
        layout = read_layout(root, True, train_on_test_images)
        released = None if (root / "split.json").is_file() else released_split(root)
        layout = layout if released is None else apply_split(layout, released)
        parts = datalist_of_layout(layout, num_labeled, seed, group_pattern, _has_rare, val_fraction)
        if not group_pattern:
            _group_slices_by_scan(parts["unlabeled"])
        masked = {str(case.image) for case in layout.cases if case.label is not None}
    own: list[dict[str, Any]] = []
    extra: list[dict[str, Any]] = []
    for item in parts["unlabeled"]:
        (own if "slice" in item or str(item["image"]) in masked else extra).append(item)
    if extra and not unlabeled_images:
        _logger.info(f"Of these, {len(extra)} unlabeled images are not used, as `unlabeled_images` is false.")
        extra = []
    parts["unlabeled"] = own + extra
    _add_windows(extra)
    return parts


def released_split(root: Path) -> dict[str, list[Any]] | None:
    """The split of the released slices, if the folder holds them: as a stack, or as pictures named by number."""
    if (root / _STACK).is_file():
        return COVID19_CT_SPLIT
    names = {str(n) for part in ("train", "val", "test") for n in COVID19_CT_SPLIT[part]}
    files = list((root / "images").iterdir()) if (root / "images").is_dir() else []
    released = {path.stem for path in files} in (names, names | {"22", "48"}) and PictureReader.are_pictures(files)
    return COVID19_CT_SPLIT if released else None


def _released_stack(
    root: Path, num_labeled: int | None, seed: int, group_pattern: str | None
) -> dict[str, list[dict[str, Any]]]:
    image, mask = str(root / _STACK), str(root / _STACK_MASK)
    if not Path(mask).is_file():
        raise FileNotFoundError(f"There is no {mask!r}: it belongs beside {image!r}.")
    arrays = [VolumeReader(mask=True).get_data([Path(path)]) for path in (image, mask)]
    sizes = [array.shape for array, _ in arrays]
    if sizes[0] != sizes[1]:
        raise ValueError(f"{mask!r} has the size {sizes[1]}, {image!r} has {sizes[0]}: they must be the same.")
    split = read_split(root, COVID19_CT_SPLIT)
    assert split is not None
    names = {part: [str(name) for name in split.get(part, [])] for part in ("train", "val", "test")}
    slices = [name for part in names.values() for name in part]
    wrong = [n for n in slices if not n.isdecimal() or int(n) >= sizes[0][-1] or n != str(int(n))]
    wrong += sorted({name for part in names.values() for name, count in Counter(part).items() if count > 1})
    if wrong:
        raise ValueError(
            f"The split names the slices {wrong[:5]}, {image!r} has {sizes[0][-1]} slices, counted from 0, each to be "
            "named once."
        )
    group_of = patients(slices, None, split)
    refuse_leaks({part: {group_of[name]: name for name in part_names} for part, part_names in names.items()})
    parts: dict[str, list[dict[str, Any]]] = {
        part: [
            {
                "image": image,
                "label": mask,
                "slice": int(name),
                "group": group_of[name],
            }
            for name in part_names
        ]
        for part, part_names in names.items()
    }
    rare = (arrays[1][0] == _RARE).any(axis=(0, 1))
    groups = [item["group"] for item in parts["train"]]
    labeled, rest = select_labeled(parts["train"], num_labeled, seed, groups, lambda item: bool(rare[item["slice"]]))
    unlabeled = [{key: value for key, value in item.items() if key != "label"} for item in rest]
    passed_over = {
        f"{image}, slice {i}": "the split does not name it" for i in range(sizes[0][-1]) if str(i) not in slices
    }
    volumes = _further_volumes(root, passed_over)
    group_of = patients([image_name(path) for path in volumes], group_pattern, split)
    unlabeled += [{"image": str(path), "group": group_of[image_name(path)]} for path in volumes]
    lists = {"labeled": labeled, "unlabeled": unlabeled, "val": parts["val"], "test": parts["test"]}
    log_listing(Layout("stack", str(root), [], None, None, [], passed_over), lists)
    return lists


def _further_volumes(root: Path, passed_over: dict[str, str]) -> list[Path]:
    """The volumes beside the stack, which are unlabelled; what is none gets into ``passed_over``."""
    volumes = []
    for folder in (root, root / "unlabeled_images"):
        for path in in_natural_order(folder.iterdir()) if folder.is_dir() else ():
            if path.name in (_STACK, _STACK_MASK, "split.json", "unlabeled_images"):
                continue
            if path.name.startswith("."):
                passed_over[str(path)] = "hidden"
            elif path.is_dir():
                passed_over[str(path)] = "a folder within"
            elif not (path.suffix and is_scan(path) and path.is_file()):
                passed_over[str(path)] = "no volume of a known format"
            elif _MASK.search(path.name.lower()):
                passed_over[str(path)] = "a mask by its name"
            else:
                volumes.append(path)
    return volumes


def _has_rare(item: dict[str, Any]) -> bool:
    reader = VolumeReader(mask=True)
    return bool((reader.get_data(reader.read(item["label"]))[0] == _RARE).any())


def _group_slices_by_scan(items: Sequence[dict[str, Any]]) -> None:
    """Make the scan of each picture that is named as a slice of one its group."""
    for item in items:
        if PictureReader.are_pictures(item["image"]) and (match := _SLICE.match(image_name(item["image"]))):
            item["group"] = match[1]


def _add_windows(items: Sequence[dict[str, Any]]) -> None:
    """Add the export window of its scan to each picture that is a slice of one."""
    scans: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        if PictureReader.are_pictures(item["image"]) and (match := _SLICE.match(image_name(item["image"]))):
            scans.setdefault(match[1], []).append(item)
    reader = PictureReader(palette="colors")
    for slices in scans.values():
        sample = [slices[i] for i in np.linspace(0, len(slices) - 1, 8).round().astype(int)]
        window = export_window([np.atleast_3d(reader.get_data(item["image"])[0])[..., 0] for item in sample])
        for item in slices:
            item["export_window"] = window
