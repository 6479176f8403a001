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

"""Volumes for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK as sitk
from monai.transforms import LoadImage

from monai_sscm.datasets import chest_phantom
from monai_sscm.errors import root_cause
from monai_sscm.io import VolumeReader


def oblique_volume(seed: int = 0, slices: int = 6) -> sitk.Image:
    """A phantom that lies obliquely in space."""
    image = sitk.GetImageFromArray(chest_phantom(48, slices, seed)[0].transpose())
    image.SetSpacing((0.7, 0.7, 5.0))
    image.SetOrigin((-123.4567, 98.7654, -311.1))
    a, b = 0.2, 0.1
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    image.SetDirection((tilt @ turn).ravel().tolist())
    return image


def load_volume(path: Path | list[Path], **kwargs: Any):
    names = [str(p) for p in path] if isinstance(path, list) else str(path)
    try:
        return LoadImage(reader=VolumeReader(**kwargs), dtype=None, ensure_channel_first=True)(names)
    except Exception as error:
        raise root_cause(error) from None


def write_organ_phantoms(folder: Path, parts: dict[str, int], channels: int = 1) -> None:
    """
    Volumes of 24 x 32 x 20 voxels of 1 x 1 x 1.5 mm, stored to the right and to the front, with an organ whose back
    half is another class; each has a scale of its own. Several channels are files of their own, as in nnU-Net.
    """
    rng = np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    split: dict[str, list[str]] = {part: [] for part in parts}
    for i, part in enumerate(part for part, count in parts.items() for _ in range(count)):
        name = f"organ_{i:02d}"
        split[part].append(name)
        x, y, z = np.ogrid[-1:1:24j, -1:1:32j, -1:1:20j]
        inside = (x / 0.5) ** 2 + (y / 0.7) ** 2 + (z / 0.6) ** 2 + 0.2 * rng.random() < 1
        mask = (inside * (1 + (y < 0))).astype(np.uint8)
        affine = np.diag([1.0, 1.0, 1.5, 1.0])
        nibabel.save(nibabel.Nifti1Image(mask, affine), folder / "labels" / f"{name}.nii.gz")
        for channel in range(channels):
            image = (mask + rng.normal(0, 0.3, mask.shape)) * 10.0 ** rng.integers(0, 5) * (1 - 2 * channel)
            suffix = f"_{channel:04d}" if channels > 1 else ""
            nibabel.save(
                nibabel.Nifti1Image(image.astype(np.float32), affine), folder / "images" / f"{name}{suffix}.nii.gz"
            )
    (folder / "split.json").write_text(json.dumps(split))
