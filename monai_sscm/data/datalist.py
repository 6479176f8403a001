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

"""Lists of files for semi-supervised training, from data sets of any layout."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .layouts import Case, Layout, read_layout
from .layouts.split import PARTS, apply_split, kept_together
from .listing import first_file, log_listing

__all__ = ["datalist_of_layout", "select_labeled", "semi_supervised_datalist"]

_logger = logging.getLogger(__name__)


def semi_supervised_datalist(
    dataset_dir: str | Path,
    num_labeled: int | None = None,
    seed: int = 0,
    group_pattern: str | None = None,
    split: Mapping[str, Sequence[Any]] | None = None,
    folders: bool = False,
    preferred: Callable[[dict[str, Any]], bool] | None = None,
    val_fraction: float = 0.0,
    train_on_test_images: bool = False,
) -> dict[str, list[dict[str, Any]]]:
    """
    List a data set as labelled, unlabelled, validation and test images.

    Its layout is one of those of :py:func:`monai_sscm.data.layouts.read_layout`: folders of images and masks, as here,
    of the Decathlon or of nnU-Net, masks beside images, or a data list in JSON. Images without masks are unlabelled.
    Of the training images with masks ``num_labeled`` keep theirs; the others are listed without and count as unlabelled
    too. Images whose masks lack classes or slices are labelled; see :py:func:`monai_sscm.data.unlabeled_items`.

    Args:
        dataset_dir: folder of the data set, or the JSON file of a data list.
        num_labeled: how many training images keep their masks. None: all. 0: none, and none needs to have one, as at
            a client of a federation that labels nothing.
        seed: chooses them; see :py:func:`select_labeled`.
        group_pattern: regular expression whose first group is the patient in a file name. It is matched at the name's
            start and must fit all images. None: every image is a patient of its own. What the data set says goes first:
            the ``group`` of each entry; images that are ``kept_together`` join the patients that the pattern finds.
        split: the split of a folder without ``split.json``.
        folders: whether a folder counts as an image, named as the folder, such as a DICOM series.
        preferred: see :py:func:`select_labeled`; called with training items.
        val_fraction: from 0 to 1 (excluded): share of the patients with masks, always the same, that validates where
            the data set names no validation images. 0: none, so that all masks are learned from.
        train_on_test_images: whether test images without masks (``imagesTs/``) are trained on as unlabelled ones.

    Returns:
        lists by ``labeled``, ``unlabeled``, ``val`` and ``test`` of items ``{"image": path, "label": path, "group":
        patient}``; unlabelled ones have no ``label``. ``image`` is a list of paths where these are its channels.

    Raises:
        FileNotFoundError: when the folder, an image or a mask is missing.
        ValueError: when names are ambiguous, a patient is on two sides, or there are fewer images than asked for.

    Example:
        >>> import tempfile
        >>> from monai_sscm.data import semi_supervised_datalist
        >>> from monai_sscm.datasets import write_vessel_phantoms
        >>> folder = tempfile.mkdtemp()
        >>> write_vessel_phantoms(folder, num_train=6, num_val=1, num_test=1, size=32)
        >>> {part: len(files) for part, files in semi_supervised_datalist(folder, num_labeled=2).items()}
        {'labeled': 2, 'unlabeled': 4, 'val': 1, 'test': 1}
    """
    layout = read_layout(dataset_dir, folders, train_on_test_images)
    if split is not None and not (Path(dataset_dir) / "split.json").is_file():
        layout = apply_split(layout, split)
    return datalist_of_layout(layout, num_labeled, seed, group_pattern, preferred, val_fraction)


def datalist_of_layout(
    layout: Layout,
    num_labeled: int | None = None,
    seed: int = 0,
    group_pattern: str | None = None,
    preferred: Callable[[dict[str, Any]], bool] | None = None,
    val_fraction: float = 0.0,
) -> dict[str, list[dict[str, Any]]]:
    """
    List the cases of a layout that has been read.

    Args, Returns, Raises: as :py:func:`semi_supervised_datalist`.

    Example:
        >>> import tempfile
        >>> from monai_sscm.data import datalist_of_layout
        >>> from monai_sscm.data.layouts import read_layout
        >>> from monai_sscm.datasets import write_vessel_phantoms
        >>> folder = tempfile.mkdtemp()
        >>> write_vessel_phantoms(folder, num_train=6, num_val=1, num_test=1, size=32)
        >>> len(datalist_of_layout(read_layout(folder), num_labeled=2)["unlabeled"])
        4
    """
    if num_labeled != 0 and not any(case.label is not None for case in layout.cases):
        raise FileNotFoundError(
            f"None of the {len(layout.cases)} images in {layout.root!r} has a mask: check their names."
        )
    cases = _with_patients(layout.cases, group_pattern)
    if val_fraction and not any(case.part == "val" for case in cases):
        cases = _hold_out(cases, val_fraction)
    parts = {part: [case for case in cases if (case.part or "train") == part] for part in PARTS}
    items = {part: [_item(case) for case in parts[part] if case.label is not None] for part in PARTS}
    if num_labeled != 0 and not items["train"]:
        others = " and ".join(f"{len(items[part])} {part}" for part in ("val", "test") if items[part])
        raise ValueError(
            f"No image of {layout.root!r} with a mask is left for training, as these are {others} images: add images "
            "of more patients, or move some to the training part."
        )
    unlabeled = [case for case in parts["train"] if case.label is None]
    refuse_leaks(
        {"train": {str(case.group): first_file(case.image) for case in parts["train"]}}
        | {part: {item["group"]: first_file(item["image"]) for item in items[part]} for part in ("val", "test")}
    )
    _refuse_copies(
        {part: [item["image"] for item in items[part]] for part in PARTS}, (case.image for case in unlabeled)
    )
    groups = [item["group"] for item in items["train"]]
    labeled, rest = select_labeled(items["train"], num_labeled, seed, groups, preferred)
    without = [*rest, *map(_item, unlabeled)]
    lists = {
        "labeled": labeled,
        "unlabeled": [{"image": item["image"], "group": item["group"]} for item in without],
        "val": items["val"],
        "test": items["test"],
    }
    log_listing(layout, lists)
    return lists


def _item(case: Case) -> dict[str, Any]:
    label = {} if case.label is None else {"label": case.label}
    return {"image": case.image, **label, "group": case.group, **case.extras}


def _with_patients(cases: Sequence[Case], pattern: str | None) -> list[Case]:
    """The cases that are used with the patient of each as its group."""
    used = [case for case in cases if case.label is not None or case.part != "test"]
    group_of = patients([case.name for case in used if case.group is None], pattern)
    if group_of and pattern:  # the others are kept together: with all images of the patients that they are of
        joined: dict[str, str] = {}
        for case in used:
            match = re.match(pattern, case.name)
            if case.group is not None and match and match[1]:
                ours, theirs = _last(joined, case.group), _last(joined, match[1])
                joined |= {theirs: ours} if ours != theirs else {}
        used = [
            case if case.group is None else dataclasses.replace(case, group=_last(joined, case.group)) for case in used
        ]
        group_of = {name: _last(joined, group) for name, group in group_of.items()}
    return [dataclasses.replace(case, group=case.group or group_of[case.name]) for case in used]


def _last(following: Mapping[str, str], name: str) -> str:
    while name in following:
        name = following[name]
    return name


def _hold_out(cases: Sequence[Case], fraction: float) -> list[Case]:
    """The cases with a share of the patients with masks in the validation part; their other images are left out."""
    if not 0 < fraction < 1:
        raise ValueError(f"`val_fraction` must be from 0 to 1 (excluded), got {fraction!r}.")
    groups = sorted({str(case.group) for case in cases if case.label is not None and case.part != "test"})
    held_out = set(np.random.RandomState(0).permutation(groups)[: max(1, int(len(groups) * fraction))].tolist())
    kept = []
    left_out = 0
    for case in cases:
        if case.part == "test" or case.group not in held_out:
            kept.append(case)
        elif case.label is not None:
            kept.append(dataclasses.replace(case, part="val"))
        else:
            left_out += 1
    if left_out:
        _logger.info(f"{left_out} unlabeled images of patients who validate are left out.")
    return kept


def select_labeled(
    items: Sequence[dict[str, Any]],
    num_labeled: int | None,
    seed: int,
    groups: Sequence[str],
    preferred: Callable[[dict[str, Any]], bool] | None = None,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """
    Choose the images that keep their labels, from as many patients as possible.

    The patients are shuffled, and so are the images of each; the list takes one image of each patient in turn. The
    choice depends on the seed alone, and a longer list begins with the shorter one of the same seed.

    Args:
        items: the training images.
        num_labeled: length of the list; None takes all, 0 none.
        seed: seed of the order.
        groups: patient of each item.
        preferred: whether to prefer an item, such as one with a rare class. At least half of the list is preferred
            items, as long as there are any. It is called only when items are left out. None: all are alike.

    Returns:
        the chosen items in their order, and the rest in theirs.

    Raises:
        ValueError: when there are fewer items than asked for.

    Example:
        >>> from monai_sscm.data import select_labeled
        >>> items = [{"image": f"{patient}{visit}"} for patient in "abc" for visit in "12"]
        >>> chosen, rest = select_labeled(items, num_labeled=3, seed=0, groups=[i["image"][0] for i in items])
        >>> sorted(i["image"][0] for i in chosen), len(rest)
        (['a', 'b', 'c'], 3)
    """
    if num_labeled is None:
        num_labeled = len(items)
    if not 0 <= num_labeled <= len(items):
        raise ValueError(
            f"`num_labeled` is {num_labeled}, but the training part has {len(items)} images with masks: give at "
            f"most {len(items)}."
        )
    random = np.random.RandomState(seed)
    members: dict[str, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    names = sorted(members)
    queues = [random.permutation(members[names[k]]).tolist() for k in random.permutation(len(names))]
    turns = [(turn, k, i) for k, queue in enumerate(queues) for turn, i in enumerate(queue)]
    order = [i for _, _, i in sorted(turns)]
    chosen = dict.fromkeys(order[:num_labeled])
    if preferred is not None and num_labeled < len(items):
        every, rare = iter(order), iter([i for i in order if preferred(items[i])])
        chosen = {}
        while len(chosen) < num_labeled:
            sources = (rare, every) if len(chosen) % 2 == 0 else (every,)
            chosen[next(i for source in sources for i in source if i not in chosen)] = None
    return [items[i] for i in chosen], [item for i, item in enumerate(items) if i not in chosen]


def patients(
    names: Iterable[str], pattern: str | None, split: Mapping[str, Sequence[Any]] | None = None
) -> dict[str, str]:
    """
    The patient of every image: by the split's ``kept_together``, else by the pattern, else the image itself.

    Raises:
        ValueError: when the pattern is none, or does not fit all other names.
    """
    together = kept_together(split)
    found = {name: together.get(name, name) for name in names}
    if not pattern:
        return found
    try:
        if re.compile(pattern).groups < 1:
            raise ValueError(f"`group_pattern` {pattern!r} has no group: put what is the patient into parentheses.")
    except re.error as e:
        raise ValueError(f"`group_pattern` {pattern!r} is no regular expression ({e}).") from e
    matches = {name: re.match(pattern, name) for name in found if name not in together}
    unfit = [name for name, match in matches.items() if not (match and match[1])]
    if unfit:
        raise ValueError(
            f"`group_pattern` {pattern!r} fits {len(matches) - len(unfit)} of {len(matches)} image names, but not "
            f"{unfit[:5]}: it is matched at the start of each name and must say of every image which "
            "patient it is of. Mend it, or rename them."
        )
    return found | {name: match[1] for name, match in matches.items() if match}


def refuse_leaks(images: Mapping[str, Mapping[str, str]]) -> None:
    """
    Refuse a patient that is in two parts, also one that is written in capitals in one of them.

    Args:
        images: for each part, an image of every patient, by the patient.
    """
    parts = list(images)
    for i, a in enumerate(parts):
        written = {group.casefold(): group for group in images[a]}
        for b in parts[i + 1 :]:
            both = sorted(group for group in images[b] if group.casefold() in written)
            if not both:
                continue
            one, other = images[a][written[both[0].casefold()]], images[b][both[0]]
            text = f"{both[:5]} are in the {a} part and in the {b} part: keep each patient on one side."
            if one != other:
                text += f" Such are {one!r} and {other!r}."
                if os.path.basename(one) == os.path.basename(other):
                    text += " Images of one name count as one patient's: rename one of them if they are of two."
            raise ValueError(text)


def _refuse_copies(parts: Mapping[str, Sequence[str | list[str]]], unlabeled: Iterable[str | list[str]]) -> None:
    """
    Refuse an image that is in two parts under two names: a training on it would have seen a test image.

    Only files of one size in two parts are looked into, and read to the end only where they agree in the middle.
    """
    part_of: dict[tuple[str, ...], str] = {}
    for part, images in (*parts.items(), ("train", unlabeled)):
        part_of |= {(image,) if isinstance(image, str) else tuple(image): part for image in images}
    if len(set(part_of.values())) == 1:
        return
    suspects = [list(part_of)]
    for likeness in (_size, _middle, _digest):
        alike: dict[Any, list[tuple[str, ...]]] = {}
        for k, group in enumerate(suspects):
            for image in group:
                alike.setdefault((k, likeness(image)), []).append(image)
        suspects = [group for group in alike.values() if len({part_of[image] for image in group}) > 1]
    for group in suspects:
        first = group[0]
        other = next(image for image in group if part_of[image] != part_of[first])
        raise ValueError(
            f"{first[0]!r} in the {part_of[first]} part and {other[0]!r} in the {part_of[other]} part are the same "
            "image: keep it in one of them."
        )


def _size(image: tuple[str, ...]) -> int:
    return sum(os.stat(file).st_size for file in _contents(image))


def _middle(image: tuple[str, ...]) -> bytes:
    """Some bytes of an image; their headers and borders may be those of others."""
    file = next(iter(_contents(image)), os.devnull)
    with open(file, "rb") as opened:
        opened.seek(max(0, os.stat(file).st_size // 2 - 2**11))
        return hashlib.sha256(opened.read(2**12)).digest()


def _digest(image: tuple[str, ...]) -> bytes:
    digest = hashlib.sha256()
    for file in _contents(image):
        digest.update(Path(file).read_bytes())
    return digest.digest()


def _contents(image: tuple[str, ...]) -> list[str]:
    """An image's files; of a folder, all that are in it."""
    if not any(map(os.path.isdir, image)):
        return list(image)
    folders = [(folder, files) for path in image for folder, _, files in os.walk(path)]
    return sorted(os.path.join(folder, file) for folder, files in folders for file in files)
