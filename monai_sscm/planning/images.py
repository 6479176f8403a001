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


"""Looking at one image, or at one mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from monai.utils import MetaKeys, ensure_tuple
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from scipy import ndimage

from monai_sscm.io import PictureReader, VolumeReader
from monai_sscm.transforms.label.array import check_labeled_slices

__all__ = ["ImageSeen", "MaskSeen", "ObjectSeen", "are_pictures", "look_at_image", "look_at_mask"]

# pixels of an image that are kept for percentiles
_KEPT = 10_000
# largest class index
_LARGEST = 1000


@dataclass(frozen=True)
class ObjectSeen:
    """
    What has one value in a mask.

    Args:
        pixels: how many.
        center: its center, from 0 to 1 along each axis.
        slices: share of the slices across the last axis that have some of it.
        thickness: how thick it is, in pixels of the plane; None if that was not looked at.
        elongation: how often longer than thick the part of a pixel is in the mean, in the plane.
    """

    pixels: int
    center: tuple[float, ...]
    slices: float
    thickness: float | None = None
    elongation: float | None = None


@dataclass(frozen=True)
class MaskSeen:
    """
    What is in a mask.

    Args:
        path: its file.
        size: its size.
        objects: what has each of its values.
    """

    path: str
    size: tuple[int, ...]
    objects: dict[int, ObjectSeen]

    def by_class(self, num_classes: int, ignore_index: int | None) -> dict[int, ObjectSeen]:
        """The objects by class, as :py:class:`monai_sscm.transforms.MaskToIndex` takes values for classes."""
        objects = {value: seen for value, seen in self.objects.items() if value != ignore_index}
        if num_classes == 2 and set(objects) <= {0, 255}:
            return {min(value, 1): seen for value, seen in objects.items()}
        return objects


@dataclass(frozen=True)
class ImageSeen:
    """
    What is in an image.

    Args:
        path: its file.
        size: its size.
        spacing: distance of voxels in mm; None for a picture.
        channels: number of channels.
        values: ``(channels, N)``, intensities of some pixels.
        foreground: ``(channels, N)``, those of some pixels of classes.
        hounsfield: whether it looks like CT.
    """

    path: str
    size: tuple[int, ...]
    spacing: tuple[float, ...] | None
    channels: int
    values: np.ndarray
    foreground: np.ndarray
    hounsfield: bool


def are_pictures(image: str | Sequence[str]) -> bool:
    """Whether an image is a picture, or a list of them."""
    return PictureReader.are_pictures(image)


def look_at_mask(item: Mapping[str, Any], picture: bool, shapes: bool = False) -> MaskSeen:
    """
    Look at a mask.

    Args:
        item: of a data list, with ``label`` and perhaps ``labeled_slices``, which alone are looked at then.
        picture: whether its image is a picture.
        shapes: whether to measure how thick classes are.

    Raises:
        FileNotFoundError, OSError: when it is missing or damaged.
        ValueError: when a value is no whole number of at least 0, or channels differ.
    """
    path = str(item["label"])
    mask, labeled = _read_mask(path, picture, item.get("labeled_slices"))
    objects = {}
    for value, box in enumerate(ndimage.find_objects(mask), 1):
        if box is None:
            continue
        inside = mask[box] == value
        pixels = int(inside.sum())
        center = []
        for axis, length in enumerate(mask.shape):
            profile = inside.sum(axis=tuple(a for a in range(mask.ndim) if a != axis))
            places = np.arange(box[axis].start, box[axis].stop) + 0.5
            center.append(float((profile * places).sum() / pixels / length))
        slices = np.count_nonzero(profile) / (length * labeled / mask.size)  # of the labeled ones
        objects[value] = ObjectSeen(pixels, tuple(center), slices, *(_shape(inside) if shapes else (None, None)))
    background = labeled - sum(seen.pixels for seen in objects.values())
    if background:
        objects[0] = ObjectSeen(background, (0.5,) * mask.ndim, slices=1.0)
    return MaskSeen(path, mask.shape, objects)


def look_at_image(item: Mapping[str, Any], picture: bool, ignore_index: int | None = None) -> ImageSeen:
    """
    Look at an image, and at where its mask has classes.

    Args:
        item: of a data list, with ``image`` and perhaps ``label``.
        picture: whether it is a picture.
        ignore_index: value in masks that is of no class.

    Raises:
        FileNotFoundError, OSError: when a file is missing or damaged.
        ValueError: when image and mask differ in size.
    """
    dims = 2 if picture else 3
    paths = [str(path) for path in ensure_tuple(item["image"])]
    reader = PictureReader(palette="colors") if picture else VolumeReader()
    loaded = [_oriented(*reader.get_data(reader.read(path)), dims) for path in paths]
    sizes = [array.shape[:dims] for array, _ in loaded]
    if len(set(sizes)) > 1:
        raise ValueError(f"The channels {paths} differ in size, {sizes}: save them with one size.")
    image = np.concatenate([array.reshape(*sizes[0], -1) for array, _ in loaded], axis=-1)
    pixels = image.reshape(-1, image.shape[-1])
    foreground = pixels[:0]
    if "label" in item:
        mask, _ = _read_mask(item["label"], picture)
        if mask.shape != sizes[0]:
            raise ValueError(
                f"The image {paths[0]!r} has the size {sizes[0]}, its mask {str(item['label'])!r} {mask.shape}: "
                "they must lie on each other."
            )
        foreground = pixels[(mask.ravel() != 0) & (mask.ravel() != (0 if ignore_index is None else ignore_index))]
    lowest = float(pixels.min())
    integral = pixels.dtype.kind in "iu" or bool((pixels[:: _step(pixels)] % 1 == 0).all())
    return ImageSeen(
        path=paths[0],
        size=sizes[0],
        spacing=None if picture else loaded[0][1],
        channels=image.shape[-1],
        values=_some(pixels),
        foreground=_some(foreground),
        hounsfield=lowest < -500 and integral,
    )


def _some(pixels: np.ndarray) -> np.ndarray:
    return pixels[:: _step(pixels)].astype(np.float32).T


def _step(pixels: np.ndarray) -> int:
    return max(1, len(pixels) // _KEPT) | 1  # odd, so that not every second column is left out


def _oriented(array: np.ndarray, meta: Mapping, dims: int) -> tuple[np.ndarray, tuple[float, ...]]:
    """A volume as the network sees it, X to the patient's left, Y back, Z to the head, and its spacing."""
    if dims == 2:
        return (array[:, :, 0] if array.ndim == 3 and array.shape[-1] == 1 else array), ()
    array = array if array.ndim > 2 else array[..., None]
    affine = np.asarray(meta[MetaKeys.AFFINE], dtype=float)
    transform = ornt_transform(io_orientation(affine), axcodes2ornt(("L", "P", "S")))
    spacing = np.empty(3)
    spacing[transform[:, 0].astype(int)] = np.linalg.norm(affine[:3, :3], axis=0)
    return apply_orientation(array, transform), tuple(spacing.tolist())


def _read_mask(path: str, picture: bool, slices: Sequence[int] | None = None) -> tuple[np.ndarray, int]:
    """A mask, with 0 in slices that are not labelled, and the number of its pixels that are."""
    reader = PictureReader() if picture else VolumeReader(mask=True)
    dims = 2 if picture else 3
    stored, meta = reader.get_data(reader.read(path))
    share = 1.0
    if slices is not None:
        depth = None if picture else stored.shape[2] if stored.ndim > 2 else 1
        hidden = np.ones(depth or 1, bool)
        hidden[check_labeled_slices(slices, depth, f"the mask {path!r}")] = False
        stored = np.array(stored if stored.ndim > 2 else stored[..., None])
        stored[:, :, hidden] = 0
        share = 1 - hidden.mean()
    mask, _ = _oriented(stored, meta, dims)
    if mask.ndim > dims:
        channels = mask[..., :3] if mask.shape[-1] == 4 else mask
        if not (channels == channels[..., :1]).all():
            raise ValueError(
                f"The mask {str(path)!r} has {mask.shape[-1]} channels that differ: save it with one channel, in which "
                "every pixel is a class index."
            )
        mask = channels[..., 0]
    if mask.dtype.kind not in "bu":
        wrong = mask[(mask < 0) | (mask != np.round(mask)) | (mask > _LARGEST)]
        if wrong.size:
            raise ValueError(
                f"The mask {str(path)!r} has the values {sorted(set(wrong.ravel()[:1000].tolist()))[:5]}: every pixel "
                "must be a class index, 0, 1, 2, ..."
            )
    mask = np.ascontiguousarray(mask).astype(np.uint8 if mask.max() < 256 else np.int64, copy=False)
    return mask, round(mask.size * share)


def _shape(inside: np.ndarray) -> tuple[float, float]:
    """How thick an object is, and how often longer than thick, in the slice that has most of it."""
    if inside.ndim == 3:
        inside = inside[..., int(inside.sum(axis=(0, 1)).argmax())]
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    inside = np.pad(inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1)
    # pixels of a strip of width w are w / 4 from its edge in the mean, which is half a pixel before the next pixel
    thickness = 4 * float((ndimage.distance_transform_edt(inside)[inside] - 0.5).mean())
    # a pixel counts its part: specks, such as of lines that were broken when they were shrunk, say little of the shape
    sizes = np.bincount(ndimage.label(inside, np.ones((3, 3)))[0][inside]).astype(float)
    return round(thickness, 2), round(float((sizes**2).sum() / sizes.sum()) / thickness**2, 2)
