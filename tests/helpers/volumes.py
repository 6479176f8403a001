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

from pathlib import Path
from typing import Any

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
