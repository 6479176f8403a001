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

"""Procedural images with exact masks, for tests and for first trials without data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image, ImageDraw

__all__ = ["chest_phantom", "vessel_phantom", "write_chest_phantoms", "write_vessel_phantoms"]

_SUPERSAMPLING = 4


def vessel_phantom(size: int = 256, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """
    Draw an image like a fundus photograph, with vessels that branch from an optic disc, and its exact mask.

    Vessels are drawn at four times the size; a pixel is a vessel if they cover at least half of it. Color,
    illumination, contrast, noise and a few dark spots that are no vessels vary from image to image.

    Args:
        size: height and width in pixels, at least 16.
        seed: which image.

    Returns:
        image ``(size, size, 3)``, uint8, and mask ``(size, size)``, uint8, 0 and 1.

    Example:
        >>> from monai_sscm.datasets import vessel_phantom
        >>> image, mask = vessel_phantom(size=64, seed=1)
        >>> image.shape, mask.shape, bool(0.02 < mask.mean() < 0.3)
        ((64, 64, 3), (64, 64), True)
    """
    if size < 16:
        raise ValueError(f"`size` must be at least 16, got {size!r}.")
    random = np.random.RandomState(seed)
    scale = size * _SUPERSAMPLING
    disc = np.array([random.choice([0.3, 0.7]), 0.5]) + random.uniform(-0.06, 0.06, 2)
    canvas = Image.new("L", (scale, scale), 0)
    draw = ImageDraw.Draw(canvas)
    for angle in np.arange(0, 2 * np.pi, 2 * np.pi / 6) + random.uniform(0, 0.8):
        _grow(draw, random, disc, angle + random.uniform(-0.3, 0.3), random.uniform(0.007, 0.012), scale)
    coverage = np.asarray(canvas.resize((size, size), Image.Resampling.BOX), dtype=np.float64) / 255

    axis = (np.arange(size) + 0.5) / size
    y, x = np.meshgrid(axis, axis, indexing="ij")
    field = np.hypot(x - 0.5, y - 0.5) < 0.48
    light = 1 + random.uniform(-0.5, 0.5) * (x - 0.5) + random.uniform(-0.5, 0.5) * (y - 0.5)
    light += 0.5 * np.exp(-((x - disc[0]) ** 2 + (y - disc[1]) ** 2) / 0.006)
    for _ in range(random.randint(2, 7)):
        cx, cy, radius = random.uniform(0.1, 0.9), random.uniform(0.1, 0.9), random.uniform(0.01, 0.03)
        light -= random.uniform(0.1, 0.3) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * radius**2))
    color = np.array([random.uniform(150, 210), random.uniform(70, 110), random.uniform(25, 60)])
    contrast = random.uniform(0.2, 0.45) * np.array([0.5, 1.0, 0.7])
    image = light[..., None] * color * (1 - coverage[..., None] * contrast)
    coarse = Image.fromarray(random.normal(0, 1, (size // 4, size // 4)).astype(np.float32))
    texture = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))
    image = image * (1 + 0.04 * texture[..., None]) + random.normal(0, random.uniform(2, 7), image.shape)
    mask = (coverage >= 0.5) & field
    return (np.clip(image, 0, 255) * field[..., None]).astype(np.uint8), mask.astype(np.uint8)


def _grow(
    draw: ImageDraw.ImageDraw, random: np.random.RandomState, start: np.ndarray, angle: float, radius: float, scale: int
) -> None:
    """Draw a vessel that winds, gets thinner and branches, until it leaves the image or becomes too thin."""
    point, bend = start.copy(), random.uniform(-0.05, 0.05)
    while radius > 0.0022 and np.hypot(*(point - 0.5)) < 0.55:
        step = point + 0.015 * np.array([np.cos(angle), np.sin(angle)])
        draw.line([tuple(point * scale), tuple(step * scale)], fill=255, width=max(1, round(2 * radius * scale)))
        r = radius * scale
        draw.ellipse([*(step * scale - r), *(step * scale + r)], fill=255)
        point, radius = step, radius * 0.985
        bend = np.clip(0.9 * bend + random.normal(0, 0.03), -0.08, 0.08)
        angle += bend
        if random.random_sample() < 0.06:
            _grow(draw, random, point, angle + random.choice([-1, 1]) * random.uniform(0.4, 0.9), 0.75 * radius, scale)


def write_vessel_phantoms(
    output_dir: str | Path, num_train: int = 12, num_val: int = 2, num_test: int = 2, size: int = 256, seed: int = 0
) -> None:
    """
    Write a data set of vessel phantoms that :py:func:`monai_sscm.data.semi_supervised_datalist` reads.

    Args:
        output_dir: folder to write to, made if it is missing.
        num_train, num_val, num_test: how many images each part has.
        size: height and width in pixels.
        seed: seed of the first image.
    """

    def write(root: Path, name: str, seed: int) -> None:
        image, mask = vessel_phantom(size, seed)
        Image.fromarray(image).save(root / "images" / f"{name}.png")
        Image.fromarray(mask * 255).save(root / "labels" / f"{name}.png")

    _write_parts(output_dir, {"train": num_train, "val": num_val, "test": num_test}, seed, write)


def chest_phantom(size: int = 128, num_slices: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """
    Draw a scan like a chest CT, with ground-glass and consolidation in the lungs, and its exact mask.

    Args:
        size: height and width in voxels, at least 32.
        num_slices: number of axial slices.
        seed: which scan.

    Returns:
        scan ``(size, size, num_slices)`` in Hounsfield units, int16, X to the patient's left, Y to the back and Z to
        the head, and mask of the same shape, uint8: 0 background, 1 ground-glass, 2 consolidation.

    Example:
        >>> from monai_sscm.datasets import chest_phantom
        >>> scan, mask = chest_phantom(size=64, num_slices=8, seed=1)
        >>> scan.shape, scan.dtype, sorted(set(mask.ravel().tolist()))
        ((64, 64, 8), dtype('int16'), [0, 1, 2])
    """
    if size < 32:
        raise ValueError(f"`size` must be at least 32, got {size!r}.")
    random = np.random.RandomState(seed)
    axes = [(np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size, (np.arange(num_slices) + 0.5) / num_slices]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)

    def inside(center: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
        distance = sum(((a - c) / r) ** 2 for a, c, r in zip((x, y, z), center, radii, strict=True))
        return np.asarray(distance) < 1

    scan = np.full((size, size, num_slices), -1000.0)
    half_width, half_depth = random.uniform(0.40, 0.45), random.uniform(0.30, 0.36)
    scan[inside((0.5, 0.5, 0.5), (half_width, half_depth, 9.0))] = -90
    scan[inside((0.5, 0.5, 0.5), (half_width - 0.03, half_depth - 0.03, 9.0))] = 40
    lungs = np.zeros(scan.shape, dtype=bool)
    for side in (-1, 1):
        radii = (half_width * 0.38, half_depth * 0.75, random.uniform(0.5, 0.8))
        lungs |= inside((0.5 + side * half_width * 0.48, 0.49, 0.5), radii)
    scan[lungs] = -850
    scan[inside((0.5, 0.5 + half_depth * 0.75, 0.5), (0.05, 0.05, 9.0))] = 350
    coarse = np.asarray(random.normal(0, 1, (size // 4, size // 4, num_slices)))
    texture = coarse.repeat(4, axis=0).repeat(4, axis=1)
    texture = np.pad(texture, [(0, size - texture.shape[0]), (0, size - texture.shape[1]), (0, 0)], mode="edge")
    scan += np.where(lungs, 40, 10) * texture

    mask = np.zeros(scan.shape, dtype=np.uint8)
    places = np.argwhere(lungs)
    for index, count, radius, density in ((1, 5, 0.10, -500), (2, 3, 0.06, 20)):
        for _ in range(count):
            center = (places[random.randint(len(places))] + 0.5) / scan.shape
            r = radius * random.uniform(0.6, 1.4)
            lesion = inside(tuple(center), (r, r * random.uniform(0.7, 1.3), 0.25)) & lungs
            mask[lesion] = index
            scan[lesion] = density + random.uniform(-60, 60) + 30 * texture[lesion]
    scan += random.normal(0, 20, scan.shape)
    return np.clip(scan, -1024, 3071).astype(np.int16), mask


def write_chest_phantoms(
    output_dir: str | Path,
    num_train: int = 6,
    num_val: int = 1,
    num_test: int = 1,
    size: int = 128,
    num_slices: int = 12,
    seed: int = 0,
) -> None:
    """
    Write a data set of chest phantoms, as NIfTI scans, that :py:func:`covid19_ct_datalist` reads.

    Args:
        output_dir: folder to write to, made if it is missing.
        num_train, num_val, num_test: how many scans each part has.
        size: height and width in voxels.
        num_slices: number of axial slices.
        seed: seed of the first scan.
    """

    def write(root: Path, name: str, seed: int) -> None:
        for folder, array in zip(("images", "labels"), chest_phantom(size, num_slices, seed), strict=True):
            image = sitk.GetImageFromArray(array.transpose())
            image.SetSpacing((350 / size, 350 / size, 5.0))
            sitk.WriteImage(image, str(root / folder / f"{name}.nii.gz"))

    _write_parts(output_dir, {"train": num_train, "val": num_val, "test": num_test}, seed, write)


def _write_parts(
    output_dir: str | Path, counts: dict[str, int], seed: int, write: Callable[[Path, str, int], None]
) -> None:
    """Write the images of every part, each from a seed of its own, and the split."""
    root = Path(output_dir)
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    names = [f"phantom_{number + 1:02d}" for number in range(sum(counts.values()))]
    for number, name in enumerate(names):
        write(root, name, seed + number)
    split = {part: [names.pop(0) for _ in range(count)] for part, count in counts.items()}
    (root / "split.json").write_text(json.dumps(split, indent=1))
