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

"""Masks as the files that clients ask for. MONAI Label is not needed here."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from PIL import Image

from monai_sscm.handlers import PredictionSaver

__all__ = ["write_mask"]


def write_mask(
    image: MetaTensor,
    pred: torch.Tensor,
    class_names: Sequence[str],
    extension: str | None = None,
    dtype: Any = None,
    compress: bool = False,
) -> str:
    """
    Write the mask of an image to a temporary file: on the grid of the stored image, and in its place.

    Args:
        image: the image on the stored grid, with its metadata.
        pred: class indices ``(1, *spatial)``, uint8, on that grid: what the bundle's ``postprocessing`` gives.
        class_names: names of the classes in the order of their indices.
        extension: such as ``".nrrd"``. None: that of the mask that ``monai-sscm predict`` writes.
        dtype: type of the values, such as ``"uint16"``. None: uint8.
        compress: whether to compress what need not be.

    Returns:
        the file's path; its values are class indices, in pictures as grey levels.
    """
    folder = Path(tempfile.mkdtemp(prefix="monai_sscm_"))
    PredictionSaver(folder, class_names).save("mask", image, pred)
    (written,) = (path for path in folder.iterdir() if path.name != "labels.txt")
    own = ".nrrd" if written.suffix == ".nrrd" else "".join(written.suffixes)
    target = folder / f"result{extension or own}"
    if written.suffix == ".png":  # with a palette, which some clients read as colors
        with Image.open(written) as picture:
            mask = sitk.GetImageFromArray(np.array(picture))
    elif target.name.endswith(own) and dtype is None:
        return str(written.rename(target))
    else:
        mask = sitk.ReadImage(str(written))
    if dtype is not None:
        pixels = sitk.GetImageFromArray(sitk.GetArrayViewFromImage(mask).astype(dtype))
        pixels.CopyInformation(mask)
        mask = pixels
    sitk.WriteImage(mask, str(target), useCompression=compress)
    written.unlink()
    return str(target)
