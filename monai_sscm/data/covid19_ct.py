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

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_sscm.transforms import export_window

from .ct_reader import CTReader, is_scan
from .datalist import (
    image_name,
    in_natural_order,
    patients,
    read_split,
    refuse_leaks,
    select_labeled,
    semi_supervised_datalist,
)
from .reader import PictureReader

__all__ = ["COVID19_CT_SPLIT", "covid19_ct_datalist"]

#: The "100 slices" of MedSeg by the numbers of their slices. There are no patient ids: slices that look like one
#: patient are kept together. Slices 22 and 48, which the copy that circulates as pictures lacks, are in no part.
COVID19_CT_SPLIT: dict[str, list[Any]] = {
    "kept_together": [
        [4, 5, 16, 17, 44, 46, 56, 61, 64, 83, 91, 93],
        [8, 29, 55, 98],
        [3, 12, 28, 90],
        [25, 33, 42, 57, 78, 97],
        [32, 39, 76, 79],
        [51, 69, 96],
        [41, 49, 77, 95],
        [70, 72],
        [66, 88],
        [14, 24, 94],
        [68, 84, 92],
        [21, 37, 53],
        [18, 82],
        [6, 26, 27],
        [20, 75, 86],
        [10, 43, 63],
        [35, 67],
        [40, 65],
        [13, 31],
        [30, 47, 87],
        [59, 85],
        [36, 54],
    ],
    "train": [
        *(1, 4, 5, 6, 8, 9, 14, 16, 17, 18, 20, 21, 23, 24, 26, 27, 29, 30, 32, 36, 37, 39, 41, 44, 46, 47, 49, 52, 53),
        *(54, 55, 56, 58, 59, 60, 61, 64, 74, 75, 76, 77, 79, 80, 81, 82, 83, 85, 86, 87, 89, 91, 93, 94, 95, 98, 99),
    ],
    "val": [13, 19, 31, 35, 38, 51, 67, 68, 69, 84, 92, 96],
    "test": [
        *(
            0,
            2,
            3,
            7,
            10,
            11,
            12,
            15,
            25,
            28,
            33,
            34,
            40,
            42,
            43,
            45,
            50,
            57,
            62,
            63,
            65,
            66,
            70,
            71,
            72,
            73,
            78,
            88,
            90,
        ),
        97,
    ],
}
_STACK, _STACK_MASK = "tr_im.nii.gz", "tr_mask.nii.gz"
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
) -> dict[str, list[dict[str, Any]]]:
    """
    List chest CT as labelled, unlabelled, validation and test images, from one of three layouts, which are recognised:

    - slices as pictures: ``images/``, ``labels/`` and ``unlabeled_images/``, see ``semi_supervised_datalist``;
      unlabelled slices named ``<scan>_<number>`` are known to be of one scan;
    - the "100 slices" as MedSeg released them: ``tr_im.nii.gz`` and ``tr_mask.nii.gz``, stacks of slices of
      different patients, and further volumes beside them, which are unlabelled;
    - scans: ``images/``, ``labels/`` and ``unlabeled_images/`` with NIfTI, MHA or NRRD volumes, or a folder with a
      DICOM series for each scan.

    Without a ``split.json`` the slices of the released set, in either form, are split as in
    :py:data:`COVID19_CT_SPLIT`; of other data a fifth of the patients, always the same, become validation images. Of
    the training images ``num_labeled`` keep their masks, at least half of them with class 2, consolidation, and from
    as many patients as possible; see :py:func:`monai_sscm.data.select_labeled`.

    Args:
        dataset_dir: the folder.
        num_labeled: how many training images (slices in the first two layouts, scans in the third) keep their masks.
            None: all.
        seed: which.
        group_pattern: regular expression whose first group says of a file name which patient it belongs to. None: each
            scan is a patient of its own, unless the split's ``kept_together`` says otherwise.
        unlabeled_images: whether images without masks are used beside the training images that give up theirs.

    Returns:
        lists by ``labeled``, ``unlabeled``, ``val`` and ``test`` of items with ``image`` and, but for unlabelled ones,
        ``label``; in stacks, ``slice``, its index. Unlabelled items, and those of a stack's ``val`` and ``test``,
        have a ``group``, the scan or patient that they are of; pictures of an unlabelled scan with several slices have
        its ``export_window``, see :py:func:`monai_sscm.transforms.export_window`.

    Raises:
        FileNotFoundError: when the folder, an image or a mask is missing.
        ValueError: when names are ambiguous, a patient is on two sides, stacks differ in size, or there are fewer
            images than asked for.
    """
    root = Path(dataset_dir)
    stack = root / _STACK
    if stack.is_file():
        parts = _released_stack(root, num_labeled, seed)
    else:
        parts = semi_supervised_datalist(
            root, num_labeled, seed, group_pattern, released_split(root), folders=True, preferred=_has_rare
        )
    own = [i for i in parts["unlabeled"] if "slice" in i or Path(i["image"]).parent == root / "images"]
    more = parts["unlabeled"][len(own) :] if unlabeled_images else []
    parts["unlabeled"] = own + more
    _add_groups(parts["unlabeled"], group_pattern, read_split(root, released_split(root)))
    _add_windows(more)
    return parts


def released_split(root: Path) -> dict[str, list[Any]] | None:
    """How the released slices are split, if these are they: the stack, or pictures with its slices' numbers."""
    if (root / _STACK).is_file():
        return COVID19_CT_SPLIT
    names = {str(n) for part in ("train", "val", "test") for n in COVID19_CT_SPLIT[part]}
    files = list((root / "images").iterdir()) if (root / "images").is_dir() else []
    released = {path.stem for path in files} in (names, names | {"22", "48"}) and PictureReader.are_pictures(files)
    return COVID19_CT_SPLIT if released else None


def _released_stack(root: Path, num_labeled: int | None, seed: int) -> dict[str, list[dict[str, Any]]]:
    image, mask = str(root / _STACK), str(root / _STACK_MASK)
    if not Path(mask).is_file():
        raise FileNotFoundError(f"There is no {mask!r}: it belongs beside {image!r}.")
    arrays = [CTReader(mask=True).get_data([Path(path)]) for path in (image, mask)]
    sizes = [array.shape for array, _ in arrays]
    if sizes[0] != sizes[1]:
        raise ValueError(f"{mask!r} has the size {sizes[1]}, {image!r} has {sizes[0]}: they must be the same.")
    # slices are numbered as they are stored, and read from the feet to the head
    backwards = arrays[1][1]["original_affine"][2, 2] < 0
    split = read_split(root, COVID19_CT_SPLIT)
    assert split is not None
    names = {part: [str(name) for name in split.get(part, [])] for part in ("train", "val", "test")}
    every = [name for part in names.values() for name in part]
    wrong = [n for n in every if not n.isdecimal() or int(n) >= sizes[0][-1] or n != str(int(n))]
    wrong += sorted({n for part in names.values() for n in part if part.count(n) > 1})
    if wrong:
        raise ValueError(
            f"The split names the slices {wrong[:5]}, {image!r} has {sizes[0][-1]} slices, counted from 0, each to be "
            "named once."
        )
    group_of = patients(every, None, split)
    refuse_leaks({part: {group_of[name] for name in part_names} for part, part_names in names.items()})
    parts = {
        part: [
            {"image": image, "label": mask, "slice": sizes[0][-1] - 1 - int(name) if backwards else int(name)}
            | ({} if part == "train" else {"group": group_of[name]})
            for name in part_names
        ]
        for part, part_names in names.items()
    }
    rare = (arrays[1][0] == _RARE).any(axis=(0, 1))
    groups = [group_of[name] for name in names["train"]]
    labeled, rest = select_labeled(parts["train"], num_labeled, seed, groups, lambda item: bool(rare[item["slice"]]))
    of_slice = {item["slice"]: group for item, group in zip(parts["train"], groups, strict=True)}
    unlabeled = [{"image": image, "slice": item["slice"], "group": of_slice[item["slice"]]} for item in rest]
    beside = [root, root / "unlabeled_images"]
    volumes = [p for folder in beside if folder.is_dir() for p in in_natural_order(folder.iterdir())]
    volumes = [p for p in volumes if p.suffix and is_scan(p) and p.is_file() and p.name not in (_STACK, _STACK_MASK)]
    masks = [p for p in volumes if re.search(r"(^|[_-])(mask|msk|seg|label)", p.name.lower())]
    unlabeled += [{"image": str(p)} for p in volumes if p not in masks]
    return {"labeled": labeled, "unlabeled": unlabeled, "val": parts["val"], "test": parts["test"]}


def _has_rare(item: dict[str, Any]) -> bool:
    reader = CTReader(mask=True)
    return bool((reader.get_data(reader.read(item["label"]))[0] == _RARE).any())


def _add_groups(items: Sequence[dict[str, Any]], group_pattern: str | None, split: Any) -> None:
    """Add the scan or patient that each item is of."""
    names = [image_name(item["image"]) for item in items]
    of_patient = patients(names, group_pattern, split)
    for name, item in zip(names, items, strict=True):
        of_scan = _SLICE.match(name) if PictureReader.are_pictures(item["image"]) and not group_pattern else None
        item.setdefault("group", of_scan.group(1) if of_scan else of_patient[name])


def _add_windows(items: Sequence[dict[str, Any]]) -> None:
    """Add to pictures of scans what their grey values mean."""
    scans: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        of_scan = _SLICE.match(Path(item["image"]).stem)
        if of_scan and PictureReader.are_pictures(item["image"]):
            scans.setdefault(of_scan.group(1), []).append(item)
    reader = PictureReader(palette="colours")
    for slices in scans.values():
        some = [slices[i] for i in np.linspace(0, len(slices) - 1, 8).round().astype(int)]
        window = export_window([np.atleast_3d(reader.get_data(item["image"])[0])[..., 0] for item in some])
        for item in slices:
            item["export_window"] = window
