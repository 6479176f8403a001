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

"""Lists of files for semi-supervised training, from folders of images and masks."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_sscm.io.files import IMAGE_SUFFIXES, image_suffix, in_natural_order

__all__ = ["select_labeled", "semi_supervised_datalist"]


def semi_supervised_datalist(
    dataset_dir: str | Path,
    num_labeled: int | None = None,
    seed: int = 0,
    group_pattern: str | None = None,
    split: Mapping[str, Sequence[Any]] | None = None,
    folders: bool = False,
    preferred: Callable[[dict[str, Any]], bool] | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """
    List a folder of images and masks as labelled, unlabelled, validation and test images.

    The folder has this layout; images may be of any format that MONAI and Pillow read::

        images/            one file an image
        labels/            its mask: the same name, or the name with more behind an underscore (a_mask.png for a.jpg)
        unlabeled_images/  optional: more images, without masks
        split.json         optional: {"train": [names], "val": [names], "test": [names]}, names without suffix;
                           "kept_together": [[names], ...] lists the images of each patient

    Without ``split.json`` a fifth of the patients, always the same, become validation images. Of the training images
    ``num_labeled`` keep their masks; the others are listed without and count as unlabelled.

    Args:
        dataset_dir: the folder.
        num_labeled: how many training images keep their masks. None: all.
        seed: chooses them; see :py:func:`select_labeled`.
        group_pattern: regular expression whose first group is the patient in a file name. None: every image is a
            patient of its own. The split's ``kept_together`` goes first.
        split: the split of a folder without ``split.json``.
        folders: whether a folder counts as an image, named as the folder, such as a DICOM series.
        preferred: see :py:func:`select_labeled`; called with training items.

    Returns:
        lists by ``labeled``, ``unlabeled``, ``val`` and ``test`` of items ``{"image": path, "label": path, "group":
        patient}``; unlabelled ones have no ``label``.

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
    root = Path(dataset_dir)
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder {str(root)!r}: set `dataset_dir` to the folder of the data set.")
    images = list_images(root / "images", folders)
    masks = list_images(root / "labels", folders)
    split = read_split(root, split)
    names = {part: [str(name) for name in (split or {}).get(part, [])] for part in ("train", "val", "test")}

    group_of = patients(images, group_pattern, split)
    if group_pattern and not any(re.match(group_pattern, name) for name in images):
        raise ValueError(f"`group_pattern` {group_pattern!r} fits no image name, such as {next(iter(images))!r}.")
    if split is None:
        groups = sorted(set(group_of.values()))
        held_out = set(np.random.RandomState(0).permutation(groups)[: max(1, len(groups) // 5)].tolist())
        names["train"] = [name for name in images if group_of[name] not in held_out]
        names["val"] = [name for name in images if group_of[name] in held_out]
    origin = f"The split in {str(root / 'split.json')!r}" if (root / "split.json").is_file() else "The split"
    doubles = sorted({name for part in names.values() for name, count in Counter(part).items() if count > 1})
    if doubles:
        raise ValueError(f"{origin} names {doubles[:5]} more than once in a part: name each image once.")
    missing = [name for part in names.values() for name in part if name not in images]
    if missing:
        raise FileNotFoundError(f"{origin} names images that are not in {str(root / 'images')!r}: {missing[:5]}.")
    if not names["train"]:
        raise ValueError(f"No image of {str(root / 'images')!r} is left for training: add images of more patients.")
    extra_dir = root / "unlabeled_images"
    extra = list_images(extra_dir, folders) if extra_dir.is_dir() and any(extra_dir.iterdir()) else {}
    kept = {str(name) for group in (split or {}).get("kept_together", []) for name in group}
    unknown = sorted(kept - set(images) - set(extra))
    if unknown:
        raise ValueError(f"{origin} keeps {unknown[:5]} together with others, but there are no such images.")
    group_of_extra = patients(extra, group_pattern, split)
    groups_of = {part: {group_of[name] for name in part_names} for part, part_names in names.items()}
    groups_of["train"] |= set(group_of_extra.values())
    refuse_leaks(groups_of)

    candidates = masks_by_image(images, masks)
    parts = {
        part: [
            {"image": str(images[name]), "label": str(_only_mask(name, candidates, root)), "group": group_of[name]}
            for name in part_names
        ]
        for part, part_names in names.items()
    }
    _refuse_copies({part: [item["image"] for item in items] for part, items in parts.items()}, extra.values())
    groups_of_train = [item["group"] for item in parts["train"]]
    labeled, rest = select_labeled(parts["train"], num_labeled, seed, groups_of_train, preferred)
    unlabeled = [{"image": item["image"], "group": item["group"]} for item in rest]
    unlabeled += [{"image": str(path), "group": group_of_extra[name]} for name, path in extra.items()]
    return {"labeled": labeled, "unlabeled": unlabeled, "val": parts["val"], "test": parts["test"]}


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
        num_labeled: length of the list; None takes all.
        seed: seed of the order.
        groups: patient of each item.
        preferred: whether to prefer an item, such as one with a rare class. At least half of the list is preferred
            items, as long as there are any. It is called only when items are left out. None: all are alike.

    Returns:
        the chosen items in their order, and the rest in theirs.

    Raises:
        ValueError: when there are fewer items than asked for, or none is asked for.

    Example:
        >>> from monai_sscm.data import select_labeled
        >>> items = [{"image": f"{patient}{visit}"} for patient in "abc" for visit in "12"]
        >>> chosen, rest = select_labeled(items, num_labeled=3, seed=0, groups=[i["image"][0] for i in items])
        >>> sorted(i["image"][0] for i in chosen), len(rest)
        (['a', 'b', 'c'], 3)
    """
    if num_labeled is None:
        num_labeled = len(items)
    if not 1 <= num_labeled <= len(items):
        raise ValueError(f"`num_labeled` is {num_labeled}, but the training part has {len(items)} labelled images.")
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


def read_split(root: Path, split: Mapping[str, Sequence[Any]] | None) -> Mapping[str, Sequence[Any]] | None:
    """The folder's ``split.json``, or the given split if there is none."""
    path = root / "split.json"
    if os.path.lexists(path) and not path.is_file():
        raise FileNotFoundError(f"{str(path)!r} is a link to nothing or a folder: mend it, or take it away.")
    if not path.is_file():
        return split
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as e:
        raise ValueError(f"{str(path)!r} is no JSON ({e}): mend it, or take it away.") from e
    parts = [found.get(part) for part in ("train", "val", "test") if part in found] if isinstance(found, dict) else []
    if not parts or not all(_are_names(names) for names in parts):
        raise ValueError(f'{str(path)!r} must be {{"train": [names], "val": [names], "test": [names]}}.')
    together = found.get("kept_together", [])
    if not isinstance(together, list) or not all(_are_names(group) for group in together):
        raise ValueError(f'"kept_together" in {str(path)!r} must be a list of lists, one for each patient.')
    return found


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, (str, int)) for name in value)


def list_images(folder: Path, folders: bool = False) -> dict[str, Path]:
    """The images of a folder by their names without suffix, in natural order."""
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {str(folder)!r}: the data set needs 'images' and 'labels'.")
    found: dict[str, Path] = {}
    for path in in_natural_order(folder.iterdir()):
        suffix = image_suffix(path)
        if not path.exists():
            raise FileNotFoundError(f"{str(path)!r} is a link to a file that is not there: mend it, or take it away.")
        if path.name.startswith(".") or not (folders if path.is_dir() else suffix):
            continue
        name = path.name if path.is_dir() else path.name[: -len(suffix)]
        if name in found:
            raise ValueError(f"{str(path)!r} and {found[name].name!r} have the same name: keep one of them.")
        found[name] = path
    if not found:
        raise FileNotFoundError(f"There are no images in {str(folder)!r} ({', '.join(IMAGE_SUFFIXES)}).")
    return found


def masks_by_image(images: Container[str], masks: Mapping[str, Path]) -> dict[str, list[Path]]:
    """
    The masks of every image: the mask of its own name, else those of its name with more behind an underscore.

    A mask belongs to the longest image name that it fits: that of ``p1_2`` is no mask of ``p1``.
    """
    found: dict[str, list[Path]] = {}
    for mask, path in masks.items():
        name = mask
        while name not in images and "_" in name:
            name = name.rpartition("_")[0]
        found.setdefault(name, []).append(path)
    return found | {mask: [path] for mask, path in masks.items() if mask in images}


def _only_mask(name: str, candidates: Mapping[str, Sequence[Path]], root: Path) -> Path:
    masks = candidates.get(name, [])
    if not masks:
        raise FileNotFoundError(
            f"The image {name!r} has no mask in {str(root / 'labels')!r}: add it, or move the image to "
            f"{str(root / 'unlabeled_images')!r}."
        )
    if len(masks) > 1:
        raise ValueError(f"The image {name!r} has {len(masks)} masks, {[p.name for p in masks]}: keep one.")
    return masks[0]


def patients(
    names: Iterable[str], pattern: str | None, split: Mapping[str, Sequence[Any]] | None = None
) -> dict[str, str]:
    """The patient of every image: by the split's ``kept_together``, else by the pattern, else the image itself."""
    try:
        if pattern and re.compile(pattern).groups < 1:
            raise ValueError(f"`group_pattern` {pattern!r} has no group: put what is the patient into parentheses.")
    except re.error as e:
        raise ValueError(f"`group_pattern` {pattern!r} is no regular expression ({e}).") from e
    kept = (split or {}).get("kept_together", [])
    together = {str(name): f"{group[0]} and others" for group in kept for name in group}
    matches = {name: re.match(pattern, name) if pattern else None for name in names}
    return {name: together.get(name) or (match.group(1) if match else name) for name, match in matches.items()}


def refuse_leaks(groups: Mapping[str, set[str]]) -> None:
    """Refuse a patient that is in two parts."""
    parts = list(groups)
    for i, a in enumerate(parts):
        for b in parts[i + 1 :]:
            both = sorted(groups[a] & groups[b])
            if both:
                raise ValueError(f"{both[:5]} are in the {a} part and in the {b} part: keep each patient on one side.")


def _refuse_copies(parts: Mapping[str, Sequence[str]], unlabeled: Iterable[Path]) -> None:
    """Refuse an image that is in two parts under two names: a training on it would have seen a test image."""
    part_of = {path: part for part, paths in parts.items() for path in paths} | {str(p): "train" for p in unlabeled}
    by_size: dict[int, list[str]] = {}
    for path in part_of:
        by_size.setdefault(sum(file.stat().st_size for file in _contents(path)), []).append(path)
    for paths in by_size.values():
        if len({part_of[path] for path in paths}) == 1:
            continue  # no need to read them
        seen: dict[str, str] = {}
        for path in paths:
            digest = hashlib.sha256()
            for file in _contents(path):
                digest.update(file.read_bytes())
            other = seen.setdefault(digest.hexdigest(), path)
            if part_of[other] != part_of[path]:
                raise ValueError(
                    f"{other!r} in the {part_of[other]} part and {path!r} in the {part_of[path]} part are the same "
                    "image: keep it in one of them."
                )


def _contents(path: str) -> list[Path]:
    """An image's file, or all files of its folder."""
    return [Path(path)] if not Path(path).is_dir() else sorted(p for p in Path(path).rglob("*") if p.is_file())
