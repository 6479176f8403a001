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
Dictionary-based version of the transform in :py:mod:`monai_sscm.transforms.spatial.array`.

Class names end with 'd' to denote dictionary-based transforms.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform
from monai.transforms.transform import MapTransform, RandomizableTransform

from .array import RandSymmetry

__all__ = ["RandSymmetryD", "RandSymmetryDict", "RandSymmetryd"]


class RandSymmetryd(RandomizableTransform, MapTransform, InvertibleTransform):
    """
    Dictionary-based version of :py:class:`monai_sscm.transforms.RandSymmetry`: all keys are flipped and turned alike.

    Args:
        keys: what is flipped and turned: image, label.
        mirror_axes, turn: see the array version.
        allow_missing_keys: whether to pass over keys that are not there.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import RandSymmetryd
        >>> label = torch.randint(0, 2, (1, 8, 8))
        >>> out = RandSymmetryd(["image", "label"])({"image": label.float(), "label": label})
        >>> bool((out["image"] == out["label"]).all())
        True
    """

    backend = RandSymmetry.backend

    def __init__(
        self,
        keys: KeysCollection,
        mirror_axes: Sequence[int] = (0, 1),
        turn: bool = True,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob=1.0)
        self.symmetry = RandSymmetry(mirror_axes, turn)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandSymmetryd:
        super().set_random_state(seed, state)
        self.symmetry.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        d = dict(data)
        self.symmetry.randomize()
        for key in self.key_iterator(d):
            d[key] = self.symmetry(d[key], randomize=False)
        return d

    def inverse(self, data: Mapping[Hashable, MetaTensor]) -> dict[Hashable, MetaTensor]:
        """
        Undo what was done last.

        Args:
            data: images by key, that this transform gave.
        """
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.symmetry.inverse(d[key])
        return d


RandSymmetryD = RandSymmetryDict = RandSymmetryd
