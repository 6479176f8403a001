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
Dictionary-based CT transforms, see :py:mod:`monai_sscm.transforms.ct.array`.

Class names end with 'd' to denote dictionary-based transforms.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

from .array import TakeSlice, ToHounsfield

__all__ = [
    "TakeSliceD",
    "TakeSliceDict",
    "TakeSliced",
    "ToHounsfieldD",
    "ToHounsfieldDict",
    "ToHounsfieldd",
]


class ToHounsfieldd(MapTransform):
    """
    Dictionary-based version of :py:class:`monai_sscm.transforms.ToHounsfield`.

    Args:
        keys: slices or volumes.
        export_window_key: key of the Hounsfield units of 0 and 255 in exports, which is removed from the data. Without
            it the array version's default applies.
        allow_missing_keys: whether to skip keys that are missing.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import ToHounsfieldd
        >>> ToHounsfieldd("image")({"image": torch.tensor([[[0, 255]]]), "export_window": (-1000, 200)})["image"]
        tensor([[[-1000,   200]]], dtype=torch.int16)
    """

    backend = ToHounsfield.backend

    def __init__(
        self, keys: KeysCollection, export_window_key: str = "export_window", allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.export_window_key = export_window_key
        self.to_hounsfield = ToHounsfield()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """
        Args:
            data: images by key, and the window of exports.
        """
        d = dict(data)
        window = d.pop(self.export_window_key, None)
        for key in self.key_iterator(d):
            d[key] = self.to_hounsfield(d[key], window)
        return d


class TakeSliced(MapTransform):
    """
    Dictionary-based version of :py:class:`monai_sscm.transforms.TakeSlice`. Data without the slice's index stays as it
    is.

    Args:
        keys: stacks of slices.
        slice_key: key of the slice's index, which is removed from the data.
        allow_missing_keys: whether to skip keys that are missing, as for unlabelled images.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import TakeSliced
        >>> TakeSliced("image")({"image": torch.rand(1, 8, 8, 100), "slice": 7})["image"].shape
        torch.Size([1, 8, 8, 1])
    """

    backend = TakeSlice.backend

    def __init__(self, keys: KeysCollection, slice_key: str = "slice", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.slice_key = slice_key
        self.take = TakeSlice()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """
        Args:
            data: stacks by key, and the index.
        """
        d = dict(data)
        if self.slice_key in d:
            index = d.pop(self.slice_key)
            for key in self.key_iterator(d):
                d[key] = self.take(d[key], index)
        return d


TakeSliceD = TakeSliceDict = TakeSliced
ToHounsfieldD = ToHounsfieldDict = ToHounsfieldd
