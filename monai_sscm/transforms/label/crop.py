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

"""Crops around the classes of a label."""

from __future__ import annotations

from typing import Any

import torch
from monai.transforms import RandCropByLabelClassesd
from monai.transforms.utils import map_classes_to_indices

__all__ = ["RandCropByClassesd"]


class RandCropByClassesd(RandCropByLabelClassesd):
    """
    MONAI's ``RandCropByLabelClassesd`` for labels that may have none of the classes: those are cropped anywhere.

    Ignored pixels are of no class, so that no crop is centered on one as long as there are others.

    Args:
        args, kwargs: see :py:class:`monai.transforms.RandCropByLabelClassesd`; ``warn`` is False.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import RandCropByClassesd
        >>> crop = RandCropByClassesd("label", "label", spatial_size=(4, 4), num_classes=2, ratios=[0, 1])
        >>> [tuple(item["label"].shape) for item in crop({"label": torch.zeros(1, 16, 16)})]
        [(1, 4, 4)]
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"warn": False, **kwargs})

    def randomize(self, label: torch.Tensor, indices: Any = None, image: torch.Tensor | None = None) -> None:
        cropper = self.cropper
        if indices is None:
            indices = map_classes_to_indices(
                label, cropper.num_classes, image, cropper.image_threshold, cropper.max_samples_per_class
            )
        ratios = [1] * len(indices) if cropper.ratios is None else cropper.ratios
        if not any(len(pixels) and ratio for pixels, ratio in zip(indices, ratios, strict=True)):
            indices = [torch.arange(label[0].numel())] * len(indices)
        super().randomize(label, indices, image)
