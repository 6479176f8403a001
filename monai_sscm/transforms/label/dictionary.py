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
Dictionary-based label transforms, see :py:mod:`monai_sscm.transforms.label.array`.

Class names end with 'd' to denote dictionary-based transforms.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import MapTransform

from .array import KeepClassShares, MaskToIndex, file_of

__all__ = [
    "KeepClassSharesD",
    "KeepClassSharesDict",
    "KeepClassSharesd",
    "MaskToIndexD",
    "MaskToIndexDict",
    "MaskToIndexd",
]


class MaskToIndexd(MapTransform):
    """
    Dictionary-based version of :py:class:`monai_sscm.transforms.MaskToIndex`.

    Args:
        keys: masks to convert.
        num_classes, ignore_index: see the array version.
        image_key: image of which the masks must have the size and, if both say where they lie, the affine; None does
            not look.
        allow_missing_keys: whether to pass over keys that are not there, as for unlabelled images.

    Raises:
        ValueError: when a mask is not as the array version wants it, or its size or affine is not the image's.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import MaskToIndexd
        >>> MaskToIndexd("label", num_classes=2)({"label": torch.tensor([[[True, False]]])})["label"].tolist()
        [[[1, 0]]]
    """

    backend = MaskToIndex.backend

    def __init__(
        self,
        keys: KeysCollection,
        num_classes: int,
        ignore_index: int | None = None,
        image_key: Hashable | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_key = image_key
        self.to_index = MaskToIndex(num_classes, ignore_index)

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        d = dict(data)
        for key in self.key_iterator(d):
            mask = d[key]
            image = None if self.image_key is None else d[self.image_key]
            if image is not None and image.shape[1:] != mask.shape[1:]:
                raise ValueError(
                    f"The mask {file_of(mask)!r} has the size {tuple(mask.shape[1:])}, its image "
                    f"{file_of(image)!r} has {tuple(image.shape[1:])}: they must be the same."
                )
            if isinstance(image, MetaTensor) and isinstance(mask, MetaTensor):
                distance = float((image.affine - mask.affine).abs().max())
                # headers are rounded, and by some tools to single precision
                if distance > 0.01:
                    raise ValueError(
                        f"The mask {file_of(mask)!r} does not lie where its image {file_of(image)!r} does: their "
                        f"affines differ by up to {distance:.3g} mm. Resample the mask onto the image, or save it with "
                        "its header."
                    )
            d[key] = self.to_index(mask)
        return d


class KeepClassSharesd(MapTransform):
    """
    Dictionary-based version of :py:class:`monai_sscm.transforms.KeepClassShares`, to come after a mix.

    Args:
        keys: weights of the mixed images, such as ``mixed_weight``.
        label_key: label after the mix, such as ``mixed_label``.
        reference_key: label before the mix, such as ``pseudo_label``.
        num_classes, smooth: see the array version.
        allow_missing_keys: whether to pass over weights that are not there.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import KeepClassSharesd
        >>> batch = {"pseudo_label": torch.zeros(2, 1, 8, 8, dtype=torch.long)}
        >>> batch["mixed_label"] = batch["pseudo_label"].clone()
        >>> batch["mixed_label"][:, :, :4] = 1
        >>> batch["mixed_weight"] = torch.ones(2, 1, 8, 8)
        >>> out = KeepClassSharesd("mixed_weight", "mixed_label", "pseudo_label", num_classes=2)(batch)
        >>> bool((out["mixed_weight"][batch["mixed_label"] == 1] < 0.02).all())
        True
    """

    backend = KeepClassShares.backend

    def __init__(
        self,
        keys: KeysCollection,
        label_key: Hashable,
        reference_key: Hashable,
        num_classes: int,
        smooth: float = 0.01,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.label_key = label_key
        self.reference_key = reference_key
        self.keep_shares = KeepClassShares(num_classes, smooth)

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.keep_shares(d[key], d[self.label_key], d[self.reference_key])
        return d


KeepClassSharesD = KeepClassSharesDict = KeepClassSharesd
MaskToIndexD = MaskToIndexDict = MaskToIndexd
