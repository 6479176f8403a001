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

from collections.abc import Hashable, Mapping

import numpy as np
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms.transform import MapTransform, RandomizableTransform

from .array import RandStrongIntensity

__all__ = ["RandStrongIntensityD", "RandStrongIntensityDict", "RandStrongIntensityd"]


class RandStrongIntensityd(MapTransform, RandomizableTransform):
    """
    Dictionary-based version of :py:class:`monai_sscm.transforms.RandStrongIntensity`.

    All keys get the same draw.

    Args:
        keys: images to augment, samples or batches.
        spatial_dims, prob, brightness, contrast, gamma, noise, blur: see the array version.
        allow_missing_keys: whether to pass over keys that are not there.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import RandStrongIntensityd
        >>> augment = RandStrongIntensityd("mixed_image", spatial_dims=3, blur=0)
        >>> augment({"mixed_image": torch.rand(2, 1, 16, 16, 16)})["mixed_image"].shape
        torch.Size([2, 1, 16, 16, 16])
    """

    backend = RandStrongIntensity.backend

    def __init__(
        self,
        keys: KeysCollection,
        spatial_dims: int,
        prob: float = 0.8,
        brightness: float = 0.5,
        contrast: float = 0.5,
        gamma: float = 1.5,
        noise: float = 0.2,
        blur: float = 0.7,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.augment = RandStrongIntensity(spatial_dims, prob, brightness, contrast, gamma, noise, blur)

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> RandStrongIntensityd:
        super().set_random_state(seed, state)
        self.augment.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        d = dict(data)
        randomize = True
        for key in self.key_iterator(d):
            d[key] = self.augment(d[key], randomize=randomize)
            randomize = False
        return d


RandStrongIntensityD = RandStrongIntensityDict = RandStrongIntensityd
