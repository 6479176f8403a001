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
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["CHASE_DB1_SPLIT", "chase_db1_datalist", "select_labeled", "semi_supervised_datalist"]

# .seg.nrrd is 3D Slicer's for masks
_SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".seg.nrrd", ".nrrd")
_SUFFIXES += (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

#: CHASE_DB1 by child: both eyes of a child are on one side.
CHASE_DB1_SPLIT: dict[str, list[str]] = {
    part: [f"Image_{child:02d}{eye}" for child in children for eye in "LR"]
    for part, children in {"train": range(1, 9), "val": range(9, 11), "test": range(11, 15)}.items()
}

#: What of a CHASE_DB1 file name is the child.
CHASE_DB1_PATIENT = r"Image_(\d+)[LR]"


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

    The folder is laid out so, images of any format that MONAI and Pillow read::

        images/            one file an image
        labels/            its mask: the same name, or the name with more behind an underscore (a_mask.png for a.jpg)
        unlabeled_images/  more images without masks, if there are any
        split.json         {"train": [names], "val": [names], "test": [names]}, names without suffix; if there is any.
                           "kept_together": [[names], ...] says which images are of one patient

    Without ``split.json`` a fifth of the groups, always the same, become validation images. Of the training images
    ``num_labeled`` keep their masks, the others are listed without and count as unlabelled.

    Args:
        dataset_dir: the folder.
        num_labeled: how many training images keep their masks. None: all.
        seed: which; see :py:func:`select_labeled`.
        group_pattern: regular expression whose first group says of a file name which patient it belongs to. None:
            every image is a patient of its own.
        split: what ``split.json`` would say; a file in the folder goes first.
        folders: whether a folder within these may be an image too, of the folder's name, as a DICOM series is.
        preferred: see :py:func:`select_labeled`; called with training items.

    Returns:
        lists of MONAI's ``{"image": path, "label": path}`` by ``labeled``, ``unlabeled`` (no ``label``), ``val`` and
        ``test``.

    Raises:
        FileNotFoundError: when the folder, an image or a mask is missing.
        ValueError: when names are ambiguous, a patient is on two sides, or there are fewer images than asked for.

    Example:
        >>> import tempfile
        >>> from monai_sscm.data import semi_supervised_datalist, write_vessel_phantoms
        >>> folder = tempfile.mkdtemp()
        >>> write_vessel_phantoms(folder, num_train=6, num_val=1, num_test=1, size=32)
        >>> {part: len(files) for part, files in semi_supervised_datalist(folder, num_labeled=2).items()}
        {'labeled': 2, 'unlabeled': 4, 'val': 1, 'test': 1}
    """
    root = Path(dataset_dir)
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder {str(root)!r}: set `dataset_dir` to the folder of the data set.")
    images = _files(root / "images", folders)
    masks = _files(root / "labels", folders)
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
    said = f"The split in {str(root / 'split.json')!r}" if (root / "split.json").is_file() else "The split"
    twice = sorted({name for part in names.values() for name in part if part.count(name) > 1})
    if twice:
        raise ValueError(f"{said} names {twice[:5]} more than once in a part: name each image once.")
    missing = [name for part in names.values() for name in part if name not in images]
    if missing:
        raise FileNotFoundError(f"{said} names images that are not in {str(root / 'images')!r}: {missing[:5]}.")
    if not names["train"]:
        raise ValueError(f"No image of {str(root / 'images')!r} is left for training: add images of more patients.")
    without = root / "unlabeled_images"
    more = _files(without, folders) if without.is_dir() and any(without.iterdir()) else {}
    kept = {str(name) for group in (split or {}).get("kept_together", []) for name in group}
    unknown = sorted(kept - set(images) - set(more))
    if unknown:
        raise ValueError(f"{said} keeps {unknown[:5]} together with others, but there are no such images.")
    groups_of = {part: {group_of[name] for name in part_names} for part, part_names in names.items()}
    groups_of["train"] |= set(patients(more, group_pattern, split).values())
    refuse_leaks(groups_of)

    parts = {
        part: [{"image": str(images[name]), "label": str(_mask_of(name, images, masks, root))} for name in part_names]
        for part, part_names in names.items()
    }
    _refuse_copies({part: [item["image"] for item in items] for part, items in parts.items()}, more.values())
    groups_of_train = [group_of[name] for name in names["train"]]
    labeled, rest = select_labeled(parts["train"], num_labeled, seed, groups_of_train, preferred)
    unlabeled = [{"image": item["image"]} for item in rest]
    unlabeled += [{"image": str(path)} for path in more.values()]
    return {"labeled": labeled, "unlabeled": unlabeled, "val": parts["val"], "test": parts["test"]}


def chase_db1_datalist(
    dataset_dir: str | Path, num_labeled: int | None = None, seed: int = 0, group_pattern: str | None = None
) -> dict[str, list[dict[str, str]]]:
    """
    List CHASE_DB1: 28 fundus photographs of 14 children, split by child into 16 train, 4 validation and 8 test images.

    The folder holds ``images/Image_01L.jpg`` and so on, and ``labels/Image_01L_1stHO.png``. A folder with a
    ``split.json`` or with other images is listed as by :py:func:`semi_supervised_datalist`, so the same bundle serves
    fundus photographs of one's own.

    Args:
        dataset_dir: the folder.
        num_labeled: how many of the training images keep their masks, from as many children as possible. None: all.
        seed: which.
        group_pattern: of images of one's own, what of a file name says which patient it belongs to.

    Returns, Raises: as :py:func:`semi_supervised_datalist`.
    """
    images = Path(dataset_dir) / "images"
    known = {name for part in CHASE_DB1_SPLIT.values() for name in part}
    if images.is_dir() and known & set(_files(images)):
        # with some of its images missing it is CHASE_DB1 still: better an error than test children among the training
        return semi_supervised_datalist(dataset_dir, num_labeled, seed, CHASE_DB1_PATIENT, CHASE_DB1_SPLIT)
    return semi_supervised_datalist(dataset_dir, num_labeled, seed, group_pattern)


def select_labeled(
    items: Sequence[dict[str, Any]],
    num_labeled: int | None,
    seed: int,
    groups: Sequence[str],
    preferred: Callable[[dict[str, Any]], bool] | None = None,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """
    Choose the images that keep their labels: from as many patients as possible, nested, the same for a seed everywhere.

    Patients are put in a random order, and so are the images of each; the list takes one image of each patient in turn.
    A longer list of the same seed begins with the shorter one.

    Args:
        items: the training images.
        num_labeled: length of the list; None takes all.
        seed: seed of the order.
        groups: patient of each item.
        preferred: whether an item is of a kind, such as with a rare class, of which at least half of the list is to be
            as long as there are any; asked only when items are left out. None: all are alike.

    Returns:
        the chosen items in their order, and the rest in theirs.

    Raises:
        ValueError: when there are fewer items than asked for, or none is asked for.

    Example:
        >>> from monai_sscm.data import select_labeled
        >>> items = [{"image": f"{patient}{eye}"} for patient in "abc" for eye in "LR"]
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
    order = [queue[turn] for turn in range(max(map(len, queues))) for queue in queues if turn < len(queue)]
    if preferred is not None and num_labeled < len(items):
        wanted, rest, order = {i for i in order if preferred(items[i])}, order, []
        while rest:
            turn = next((i for i in rest if i in wanted), rest[0]) if len(order) % 2 == 0 else rest[0]
            rest = [i for i in rest if i != turn]
            order.append(turn)
    chosen = order[:num_labeled]
    return [items[i] for i in chosen], [item for i, item in enumerate(items) if i not in set(chosen)]


def image_suffix(path: Path) -> str:
    """The suffix that says that a file is an image, as it is written; empty if there is none."""
    length = next((len(s) for s in _SUFFIXES if path.name.lower().endswith(s)), 0)
    return path.name[len(path.name) - length :]


def image_name(path: str | Path, index: int | None = None) -> str:
    """The name of an image without suffix, and of a slice of a stack with its index."""
    name = Path(path).name.removesuffix(image_suffix(Path(path)))
    return name if index is None else f"{name}_{index}"


def in_natural_order(paths: Iterable[Path]) -> list[Path]:
    """Paths sorted so that 2 comes before 10."""
    return sorted(paths, key=lambda path: [int(t) if t.isdecimal() else t for t in re.split(r"(\d+)", str(path))])


def read_split(root: Path, split: Mapping[str, Sequence[Any]] | None) -> Mapping[str, Sequence[Any]] | None:
    """What the folder's ``split.json`` says, or the split that is given."""
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


def _files(folder: Path, folders: bool = False) -> dict[str, Path]:
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
        raise FileNotFoundError(f"There are no images in {str(folder)!r} ({', '.join(_SUFFIXES)}).")
    return found


def _mask_of(name: str, images: Mapping[str, Path], masks: Mapping[str, Path], root: Path) -> Path:
    """The mask of an image: of the same name, or of its name with more behind an underscore."""
    if name in masks:
        return masks[name]
    # the mask of p1_2 is no mask of p1
    longer = [other for other in images if other.startswith(f"{name}_")]
    candidates = [
        path
        for mask, path in masks.items()
        if mask.startswith(f"{name}_") and not any(mask == other or mask.startswith(f"{other}_") for other in longer)
    ]
    if not candidates:
        raise FileNotFoundError(
            f"The image {name!r} has no mask in {str(root / 'labels')!r}: add it, or move the image to "
            f"{str(root / 'unlabeled_images')!r}."
        )
    if len(candidates) > 1:
        raise ValueError(f"The image {name!r} has {len(candidates)} masks, {[p.name for p in candidates]}: keep one.")
    return candidates[0]


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
    parts = list(groups)
    for i, a in enumerate(parts):
        for b in parts[i + 1 :]:
            both = sorted(groups[a] & groups[b])
            if both:
                raise ValueError(f"{both[:5]} are in the {a} part and in the {b} part: keep each patient on one side.")


def _refuse_copies(parts: Mapping[str, Sequence[str]], unlabeled: Iterable[Path]) -> None:
    """Refuse an image that is in two parts under two names: training on it would give its mask or looks away."""
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
