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


"""NIfTI-2, which ITK does not read."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk
from nibabel.openers import Opener

__all__ = ["Nifti2Header", "is_nifti_2"]


class Nifti2Header:
    """What ITK says of a NIfTI-1 file, of a NIfTI-2 file, which it does not read."""

    def __init__(self, image: nibabel.Nifti2Image) -> None:
        self.size = image.shape
        self.components = 1 if image.get_data_dtype().kind in "iuf" else 2
        # ITK's first two axes are turned round
        self.matrix = np.diag([-1.0, -1, 1, 1]) @ image.affine
        self.spacing = np.linalg.norm(self.matrix[:3, :3], axis=0)

    def GetDimension(self) -> int:
        return len(self.size)

    def GetSize(self) -> tuple[int, ...]:
        return tuple(self.size)

    def GetSpacing(self) -> tuple[float, ...]:
        return (*self.spacing.tolist(), *[1.0] * (self.GetDimension() - 3))

    def GetOrigin(self) -> tuple[float, ...]:
        return (*self.matrix[:3, 3].tolist(), *[0.0] * (self.GetDimension() - 3))

    def GetDirection(self) -> tuple[float, ...]:
        direction = np.eye(self.GetDimension())
        direction[:3, :3] = self.matrix[:3, :3] / np.maximum(self.spacing, 1e-9)
        return tuple(direction.ravel().tolist())

    def GetNumberOfComponents(self) -> int:
        return self.components

    def GetPixelID(self) -> int:
        return sitk.sitkUInt8  # nothing is packed more densely than a byte


def is_nifti_2(path: Path) -> bool:
    """Whether a file is NIfTI-2 by its name and its first number, the length of its header."""
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return False
    with Opener(str(path)) as file:
        return int.from_bytes(file.read(4), "little") in (540, int.from_bytes((540).to_bytes(4, "big"), "little"))
