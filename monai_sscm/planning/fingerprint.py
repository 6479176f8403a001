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


"""What is seen of a data set before anything is decided."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from monai_sscm.data import datalist_of_layout
from monai_sscm.data.layouts import read_layout
from monai_sscm.data.layouts.layout import EXTRAS
from monai_sscm.data.patients import find_patients

from .class_names import check_partial_mask, name_classes
from .faults import Faults
from .images import ImageSeen, MaskSeen, ObjectSeen, are_pictures, look_at_image, look_at_mask

__all__ = ["ClassSeen", "Fingerprint", "fingerprint"]

# MONAI's DataAnalyzer is not used: it wants a mask for every image, keeps every image's statistics in a file, and gives
# neither the patients nor where classes lie.

# images whose contents are looked at: with masks, without
_LABELED, _UNLABELED = 50, 20
# voxels after which no more images are looked at: ten CT scans of 512 x 512 x 200, half a minute
_VOXELS = 5e8
# masks in which shapes are measured
_SHAPES = 12
# how many masks must agree, and how far, before a class is said to lie on one side
_MASKS, _AGREEING = 8, 0.95


@dataclass(frozen=True)
class ClassSeen:
    """
    A class in the masks of the labelled training images.

    Args:
        name: its name.
        share: its share of all pixels.
        masks: number of masks that have it.
        smallest: its fewest pixels in a mask that has it.
        thickness: how thick it is, in pixels of the plane; None where no mask has it.
        elongation: how often longer than thick the part of a pixel is in the mean, in the plane.
        slices: share of the slices of a volume, across its last axis, that have some of it, where a mask has it.
    """

    name: str
    share: float
    masks: int
    smallest: int
    thickness: float | None
    elongation: float | None
    slices: float = 1.0


@dataclass(frozen=True)
class Fingerprint:
    """
    What was seen of a data set. Sizes are those of images that were looked at; of pictures rows and columns, of volumes
    left-right, front-back and feet-head.

    Args:
        dataset_dir: the data set.
        layout: how it is laid out, see :py:class:`monai_sscm.data.layouts.Layout`.
        counts: number of images by ``labeled``, ``unlabeled``, ``val`` and ``test``.
        patients: number of patients of the training images.
        group_pattern: what says in file names of which patient an image is.
        pictures: whether the images are pictures, and no volumes.
        channels: their channels.
        channel_names: what the data set calls them.
        sizes: ``min``, ``median`` and ``max`` of the sizes.
        spacing: median distance of voxels in mm; None for pictures.
        spacing_spread: largest by smallest spacing, of each axis; None for pictures.
        percentiles: intensities at 0.5, 50 and 99.5 % of all pixels, by channel.
        foreground_percentiles: the same of pixels of classes; empty where no image with a mask was looked at.
        hounsfield: whether they look like a CT's: whole numbers, below -500 too.
        classes: the classes, background first.
        fixed_axes: axes along which some class always lies on the same side.
        empty_masks: number of masks with background alone.
        partial: number of labelled images whose masks leave pixels out.
        ignore_index: value of pixels that do not count.
        guessed: images and masks that were paired by a guess.
        passed_over: files that are not used, and why.
        looked_at: number of ``images`` and ``masks`` whose contents were read.
        folders: whether folders are images.
    """

    dataset_dir: str
    layout: str
    counts: dict[str, int]
    patients: int
    group_pattern: str | None
    pictures: bool
    channels: int
    channel_names: list[str] | None
    sizes: dict[str, list[int]]
    spacing: list[float] | None
    spacing_spread: list[float] | None
    percentiles: list[list[float]]
    foreground_percentiles: list[list[float]]
    hounsfield: bool
    classes: list[ClassSeen]
    fixed_axes: list[int] = field(default_factory=list)
    empty_masks: int = 0
    partial: int = 0
    ignore_index: int | None = None
    guessed: list[tuple[str, str]] = field(default_factory=list)
    passed_over: dict[str, str] = field(default_factory=dict)
    looked_at: dict[str, int] = field(default_factory=dict)
    folders: bool = False

    @property
    def foreground(self) -> list[ClassSeen]:
        """All classes but the background."""
        return self.classes[1:]

    @property
    def learned_without(self) -> int:
        """Number of images that are learned from without a mask, or beside what their masks tell."""
        return self.counts["unlabeled"] + self.partial

    def as_json(self) -> dict[str, Any]:
        """All of it in lists, dictionaries, texts and numbers."""
        return asdict(self)


def fingerprint(
    dataset_dir: str | Path,
    num_labeled: int | None = None,
    seed: int = 0,
    group_pattern: str | None = "find",
    val_fraction: float = 0.0,
    train_on_test_images: bool = False,
    class_names: Sequence[str] | None = None,
    ignore_index: int | None = None,
) -> Fingerprint:
    """
    Look at a data set: at all names, at every mask of a training, and at the contents of a sample of the images.

    Test images are counted and never opened, and neither are masks that ``num_labeled`` leaves out.

    Args:
        dataset_dir: folder of the data set, or the JSON file of a data list.
        num_labeled: see :py:func:`monai_sscm.data.semi_supervised_datalist`, as the next four.
        seed: chooses which.
        group_pattern: what says in file names of which patient an image is. None: each image is of a patient of its
            own. ``"find"``: it is found, where the names show it.
        val_fraction: share of the patients that is held out where the data set holds none out.
        train_on_test_images: whether test images without masks are trained on.
        class_names: names of the classes, background first. None: those that the data set says.
        ignore_index: value of pixels in masks that do not count. None: what the data set says.

    Returns:
        what was seen.

    Raises:
        FileNotFoundError, OSError: when a file is missing or damaged.
        ValueError: when there is no mask, a mask has values that are no classes, or images differ in dimensions.

    Example:
        >>> import tempfile
        >>> from monai_sscm.datasets import write_vessel_phantoms
        >>> from monai_sscm.planning import fingerprint
        >>> folder = tempfile.mkdtemp()
        >>> write_vessel_phantoms(folder, num_train=4, num_val=1, num_test=1, size=32)
        >>> seen = fingerprint(folder, num_labeled=2)
        >>> seen.counts, seen.channels, [c.name for c in seen.classes]
        ({'labeled': 2, 'unlabeled': 2, 'val': 1, 'test': 1}, 3, ['background', 'foreground'])
    """
    folders = _has_folders_as_images(Path(dataset_dir))
    layout = read_layout(dataset_dir, folders=folders, train_on_test_images=train_on_test_images)
    found = group_pattern == "find"
    if found:
        told = any(case.group for case in layout.cases)
        group_pattern = None if told else find_patients([case.name for case in layout.cases])
    try:
        datalist = datalist_of_layout(layout, num_labeled, seed, group_pattern, val_fraction=val_fraction)
    except ValueError as e:
        if val_fraction:
            datalist_of_layout(layout, num_labeled, seed, group_pattern)  # or it is no matter of the fraction
            raise ValueError(f"{e} Or leave out --val_fraction {val_fraction:g}, which holds them out.") from e
        if not found or group_pattern is None:
            raise
        datalist_of_layout(layout, num_labeled, seed, None)  # or it is no matter of patients
        raise ValueError(
            f"{e} File names seem to say {group_pattern!r}: if that is no patient, --group_pattern null."
        ) from e
    labeled, val = datalist["labeled"], datalist["val"]
    if not labeled:
        raise ValueError(f"No image in {str(dataset_dir)!r} has a mask: add masks of at least one or two images.")
    ignore_index = layout.ignore_index if ignore_index is None else ignore_index
    unlabeled = datalist["unlabeled"]
    pictures = all(are_pictures(item["image"]) for item in [*labeled, *unlabeled, *val])

    shaped = {id(item) for item in _evenly(labeled, _SHAPES)}
    faults, with_masks = Faults(), [*labeled, *val]
    looked = [faults.look(look_at_mask, item, pictures, id(item) in shaped) for item in with_masks]
    images = _look_at(labeled, _LABELED, pictures, ignore_index, faults)
    images += _look_at(unlabeled, _UNLABELED, pictures, None, faults)
    masks: list[MaskSeen] = [mask for mask in looked if mask is not None]
    known = class_names or layout.class_names
    names: list[str] = (faults.look(name_classes, masks, known, ignore_index) if masks else None) or []
    for item, mask in zip(with_masks, looked, strict=True):
        if mask is not None and names:
            faults.look(check_partial_mask, item, mask, len(names), ignore_index)
    faults.tell()
    _refuse_differing(images)
    masks = masks[: len(labeled)]
    by_class = [mask.by_class(len(names), ignore_index) for mask in masks]
    partial = [
        not item.keys().isdisjoint(EXTRAS) or ignore_index in mask.objects
        for item, mask in zip(labeled, masks, strict=True)
    ]
    channels = max(image.channels for image in images)
    spacings = np.array([image.spacing for image in images if image.spacing is not None])
    sizes = np.array([image.size for image in images] + [mask.size for mask in masks])
    return Fingerprint(
        dataset_dir=str(dataset_dir),
        layout=layout.kind,
        counts={part: len(items) for part, items in datalist.items()},
        partial=sum(partial),
        patients=len({item.get("group") or str(item["image"]) for item in [*labeled, *unlabeled]}),
        group_pattern=group_pattern,
        pictures=pictures,
        channels=channels,
        channel_names=layout.channel_names,
        sizes={
            "min": sizes.min(axis=0).tolist(),
            "median": np.median(sizes, axis=0).round().astype(int).tolist(),
            "max": sizes.max(axis=0).tolist(),
        },
        spacing=None if pictures else [float(f"{x:.4g}") for x in np.median(spacings, axis=0)],
        spacing_spread=None if pictures else (spacings.max(axis=0) / spacings.min(axis=0)).round(4).tolist(),
        percentiles=_percentiles([image.values for image in images], channels),
        foreground_percentiles=_percentiles([image.foreground for image in images], channels),
        hounsfield=not pictures and channels == 1 and all(image.hounsfield for image in images),
        classes=[_class_seen(i, name, by_class) for i, name in enumerate(names)],
        fixed_axes=_fixed_axes(by_class, sizes.shape[1]),
        empty_masks=sum(not any(objects) for objects in by_class),
        ignore_index=ignore_index,
        guessed=list(layout.guessed),
        passed_over=dict(layout.passed_over),
        looked_at={"images": len(images), "masks": len(masks)},
        folders=folders,
    )


def _has_folders_as_images(root: Path) -> bool:
    """Whether the images are folders, as DICOM series are."""
    images = root / "images"
    paths = [path for path in images.iterdir() if not path.name.startswith(".")] if images.is_dir() else []
    return bool(paths) and all(path.is_dir() for path in paths)


def _evenly(items: Sequence[Any], count: int) -> list[Any]:
    """So many of the items, from all over the list."""
    if len(items) <= count:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


def _look_at(
    items: Sequence[Mapping[str, Any]], count: int, pictures: bool, ignore_index: int | None, faults: Faults
) -> list[ImageSeen]:
    """Look at so many images, or at fewer where they are large."""
    sample = _evenly(items, count)
    if not sample:
        return []
    first = faults.look(look_at_image, sample[0], pictures, ignore_index)
    affordable = 3 if first is None else max(3, int(_VOXELS / math.prod(first.size)))
    more = [faults.look(look_at_image, item, pictures, ignore_index) for item in _evenly(sample[1:], affordable - 1)]
    return [image for image in (first, *more) if image is not None]


def _refuse_differing(images: Sequence[ImageSeen]) -> None:
    counts = {image.channels: image for image in images}
    if len(counts) > 1 and set(counts) != {1, 3}:  # gray and color go together
        (a, first), (b, second) = list(counts.items())[:2]
        raise ValueError(
            f"{first.path!r} has {a} channels, {second.path!r} has {b}: all images must have the same channels."
        )


def _class_seen(index: int, name: str, by_class: Sequence[Mapping[int, ObjectSeen]]) -> ClassSeen:
    total = sum(seen.pixels for objects in by_class for seen in objects.values())
    found = [objects[index] for objects in by_class if index in objects]
    thickness = [seen.thickness for seen in found if seen.thickness is not None]
    elongation = [seen.elongation for seen in found if seen.elongation is not None]
    return ClassSeen(
        name=name,
        share=float(f"{sum(seen.pixels for seen in found) / max(1, total):.3g}"),
        masks=len(found),
        smallest=min((seen.pixels for seen in found), default=0),
        thickness=float(np.median(thickness)) if thickness else None,
        elongation=float(np.median(elongation)) if elongation else None,
        slices=float(np.median([seen.slices for seen in found])) if found else 1.0,
    )


def _fixed_axes(by_class: Sequence[Mapping[int, ObjectSeen]], dims: int) -> list[int]:
    """
    Axes along which a class always lies on the same side: of the other classes, or of the image where there are none.
    """
    sides: dict[tuple[int, int], Counter[int]] = {}
    for objects in by_class:
        foreground = {index: seen for index, seen in objects.items() if index > 0}
        for axis in range(dims):
            centers = [seen.center[axis] for seen in foreground.values()]
            middle = float(np.mean(centers)) if len(centers) > 1 else 0.5
            for index, seen in foreground.items():
                offset = seen.center[axis] - middle
                side = 0 if abs(offset) < 0.02 else 1 if offset > 0 else -1
                sides.setdefault((index, axis), Counter())[side] += 1
    fixed = set()
    for (_, axis), counts in sides.items():
        if counts.total() >= _MASKS and max(counts[1], counts[-1]) >= _AGREEING * counts.total():
            fixed.add(axis)
    return sorted(fixed)


def _percentiles(values: Sequence[np.ndarray], channels: int) -> list[list[float]]:
    """Percentiles of every channel; a gray image counts for all."""
    found = []
    for channel in range(channels):
        together = [v[channel if len(v) == channels else 0] for v in values if v.size]
        if not together:
            return []
        found.append([float(f"{x:.4g}") for x in np.percentile(np.concatenate(together), (0.5, 50, 99.5))])
    return found
