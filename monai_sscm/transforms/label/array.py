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

"""Masks as they come from files, to class indices; and weights of classes."""

from __future__ import annotations

import torch
from monai.config.type_definitions import NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import Transform
from monai.utils import ImageMetaKey, TransformBackends, convert_to_dst_type, convert_to_tensor

__all__ = ["KeepClassShares", "MaskToIndex"]


class MaskToIndex(Transform):
    """
    Turn a mask as drawing tools write it into one channel of class indices, and check it.

    Takes class indices, 1-bit masks, and, with two classes, masks of 0 and 255; grey masks saved in colour, with or
    without an alpha channel, lose their further channels. Everything else is refused with the file's name.

    Args:
        num_classes: number of classes with the background.
        ignore_index: value that may stand for "do not count", and stays.

    Returns:
        mask ``(1, *spatial)`` of the same container type, uint8, or int64 where uint8 cannot hold all values.

    Raises:
        ValueError: when a value is no class index or the channels differ.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import MaskToIndex
        >>> MaskToIndex(num_classes=2)(torch.tensor([[[0, 255], [255, 0]]])).tolist()
        [[[0, 1], [1, 0]]]
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, num_classes: int, ignore_index: int | None = None) -> None:
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        fits = num_classes <= 256 and (ignore_index is None or 0 <= ignore_index <= 255)
        self.dtype = torch.uint8 if fits else torch.int64

    def __call__(self, mask: NdarrayOrTensor) -> NdarrayOrTensor:
        """
        Args:
            mask: channel-first mask of one image.
        """
        x: torch.Tensor = convert_to_tensor(mask, track_meta=False)
        x = x.to(torch.uint8) if x.dtype == torch.bool else x
        name = f"The mask {file_of(mask)!r}"
        if x.shape[0] > 1:
            grey = x[:3] if x.shape[0] == 4 else x
            if not bool((grey == grey[:1]).all()):
                raise ValueError(
                    f"{name} has {x.shape[0]} channels that differ (shape {tuple(x.shape)}): save it with one channel, "
                    f"in which every pixel is a class index from 0 to {self.num_classes - 1}."
                )
            x = grey[:1]
        values = torch.unique(x).double()
        if self.ignore_index is not None:
            values = values[values != self.ignore_index]
        if self.num_classes == 2 and bool(torch.isin(values, values.new_tensor([0, 255])).all()):
            x = torch.where(x == 255, 1, x) if self.ignore_index != 255 else x
            values = values.clamp(max=1)
        wrong = values[(values < 0) | (values >= self.num_classes) | (values != values.round())]
        if len(wrong):
            hint = " Masks of 0 and 255 are read as two classes only." if 255 in wrong.tolist() else ""
            examples = [int(v) if float(v).is_integer() else v for v in wrong[:5].tolist()]
            raise ValueError(
                f"{name} has the values {examples}, but with num_classes={self.num_classes} every pixel must be a "
                f"class index from 0 to {self.num_classes - 1}.{hint}"
            )
        out: NdarrayOrTensor = convert_to_dst_type(x, dst=mask, dtype=self.dtype)[0]
        return out


class KeepClassShares(Transform):
    """
    Weigh pixels so that every class counts in a mixed label as much as in the label before the mix.

    A mix that pastes chosen classes, as :py:class:`monai_sscm.transforms.SupervisedClassMix`, makes them more frequent
    than they are in images: where vessels are pasted onto vessels, their share doubles, and a network that learns from
    it sees vessels where there are none. With the shares :math:`p_c` of class c before the mix and :math:`q_c` after
    it, over all samples that are given, a pixel's weight is multiplied by :math:`(p_c + s) / (q_c + s)`, the importance
    weight of a prior that has shifted.

    Args:
        num_classes: number of classes with the background.
        smooth: the s above, a share of the pixels; with it a class that is not in the label before, as a teacher may
            not know it yet, is weighed down and not away.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import KeepClassShares
        >>> before = torch.tensor([[[0, 0, 0, 0, 0, 0, 0, 1]]])
        >>> after = torch.tensor([[[1, 1, 0, 0, 0, 0, 0, 1]]])
        >>> weight = KeepClassShares(num_classes=2, smooth=0.0)(torch.ones(1, 1, 8), after, before)
        >>> float(weight[after == 1].sum()), float(weight[after == 0].sum())  # 1 and 7, as before
        (1.0, 7.0)
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, num_classes: int, smooth: float = 0.01) -> None:
        if num_classes < 2:
            raise ValueError(f"`num_classes` counts the background and must be at least 2, got {num_classes!r}.")
        if smooth < 0:
            raise ValueError(f"`smooth` must not be negative, got {smooth!r}.")
        self.num_classes = num_classes
        self.smooth = smooth

    def __call__(  # type: ignore[override]
        self, weight: NdarrayOrTensor, label: NdarrayOrTensor, reference: NdarrayOrTensor
    ) -> NdarrayOrTensor:
        """
        Args:
            weight: weight of every pixel, a sample or a batch.
            label: class indices after the mix, of the same shape. Pixels of no class keep their weight.
            reference: class indices before the mix.

        Raises:
            ValueError: when weight and label differ in shape, as with one-hot labels.
        """
        factors, after, before = (convert_to_tensor(x, track_meta=False) for x in (weight, label, reference))
        if factors.shape != after.shape:
            raise ValueError(
                f"The label must be class indices of the weight's shape {tuple(weight.shape)}, "
                f"got {tuple(label.shape)}."
            )
        for index in range(self.num_classes):
            # no value is read back, so nothing waits for the device
            members = after == index
            ratio = ((before == index).float().mean() + self.smooth) / (members.float().mean() + self.smooth)
            factors = torch.where(members, factors * ratio.nan_to_num(1.0), factors)
        out: NdarrayOrTensor = convert_to_dst_type(factors, dst=weight)[0]
        return out


def file_of(x: NdarrayOrTensor) -> str:
    """The file an image was read from, as far as its metadata tells."""
    return str(x.meta.get(ImageMetaKey.FILENAME_OR_OBJ, "?")) if isinstance(x, MetaTensor) else "?"
