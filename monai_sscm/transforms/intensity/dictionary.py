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

"""
Dictionary-based strong intensity augmentation, see :py:mod:`monai_sscm.transforms.intensity.array`.

Class names end with 'd' to denote dictionary-based transforms.
"""

from __future__ import annotations

from monai.config import KeysCollection

from ..batch import RandBatchTransformd
from .array import RandStrongIntensity

__all__ = ["RandStrongIntensityD", "RandStrongIntensityDict", "RandStrongIntensityd"]


class RandStrongIntensityd(RandBatchTransformd):
    """
    Dictionary-based version of :py:class:`monai_sscm.transforms.RandStrongIntensity`.

    All keys get the same draw.

    Args:
        keys: images to augment, samples or batches.
        spatial_dims: see the array version.
        allow_missing_keys: whether to pass over keys that are not there.
        strengths: ``prob``, ``brightness``, ``contrast``, ``gamma``, ``noise`` and ``blur``, see the array version.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import RandStrongIntensityd
        >>> batch = {"mixed_image": torch.rand(2, 1, 16, 16, 16), "mixed_label": torch.zeros(2, 1, 16, 16, 16)}
        >>> augmented = RandStrongIntensityd("mixed_image", spatial_dims=3, blur=0)(batch)
        >>> augmented["mixed_label"] is batch["mixed_label"]
        True
    """

    def __init__(
        self, keys: KeysCollection, spatial_dims: int, allow_missing_keys: bool = False, **strengths: float
    ) -> None:
        super().__init__(keys, RandStrongIntensity(spatial_dims, **strengths), allow_missing_keys)


RandStrongIntensityD = RandStrongIntensityDict = RandStrongIntensityd
