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


"""Small made-up data sets of many kinds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image


def blocks(size: tuple[int, ...], classes: int, side: int, random: np.random.RandomState) -> np.ndarray:
    """A mask with a block of each class, in a row, at a place that is drawn."""
    mask = np.zeros(size, np.uint8)
    cells = [length // side for length in size]
    places = random.permutation(int(np.prod(cells)))[:classes]
    for value, place in enumerate(places, 1):
        corner = np.unravel_index(place, cells)
        mask[tuple(slice(c * side, (c + 1) * side) for c in corner)] = value
    return mask


def lines(size: tuple[int, ...], random: np.random.RandomState, width: int = 6) -> np.ndarray:
    """A mask with lines from side to side."""
    mask = np.zeros(size, np.uint8)
    for start in random.randint(0, size[0] - width, 3):
        mask[start : start + width] = 1
    return mask


def image_of(mask: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Gray values that show the classes."""
    return (40 + 15.0 * mask + random.normal(0, 5, mask.shape)).clip(0, 255).astype(np.uint8)


def write_volume(path: Path, array: np.ndarray, spacing: tuple[float, ...]) -> None:
    """A volume, of axes X, Y, Z."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array.transpose())
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))


def write_picture(path: Path, array: np.ndarray) -> None:
    """A picture of rows and columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def write_dataset(
    folder: Path,
    size: tuple[int, ...],
    names: tuple[str, ...] = ("a", "b"),
    unlabeled: tuple[str, ...] = ("x", "y"),
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0),
    draw: Callable[[np.random.RandomState], np.ndarray] | None = None,
    intensities: Callable[[np.ndarray], np.ndarray] = lambda image: image,
    white: bool = False,
) -> Path:
    """
    Images, masks and unlabeled images in their folders.

    Args:
        folder: the data set's.
        size: of an image; pictures of two sides, volumes of three.
        names: of the labeled images.
        unlabeled: of the others.
        spacing: of volumes.
        draw: makes a mask; None: a block.
        intensities: changes the gray values.
        white: whether classes are 255 in the masks.
    """
    for seed, name in enumerate((*names, *unlabeled)):
        random = np.random.RandomState(seed)
        mask = draw(random) if draw else blocks(size, 1, max(2, min(size) // 3), random)
        image = intensities(image_of(mask, random))
        where = folder / ("images" if name in names else "unlabeled_images")
        mask = mask * np.uint8(255 if white else 1)
        if len(size) == 2:
            write_picture(where / f"{name}.png", image)
            if name in names:
                write_picture(folder / "labels" / f"{name}.png", mask)
        else:
            write_volume(where / f"{name}.nii.gz", image, spacing)
            if name in names:
                write_volume(folder / "labels" / f"{name}.nii.gz", mask, spacing)
    return folder
