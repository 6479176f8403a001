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

import math
from collections.abc import Container, Sequence
from numbers import Integral

import torch
from monai.config.type_definitions import NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import Transform
from monai.utils import ImageMetaKey, TransformBackends, convert_to_dst_type, convert_to_tensor

__all__ = ["IGNORED", "HideUnlabeled", "KeepClassShares", "MaskToIndex"]

#: what a pixel that does not count has in a mask of class indices, whatever value stands for it in the file
IGNORED = 255


class MaskToIndex(Transform):
    """
    Turn a mask as drawing tools write it into one channel of class indices, and check it.

    Takes class indices, 1-bit masks, and, with two classes, masks of 0 and 255, or 0 and 65535; grey masks saved in
    color, with or without an alpha channel that is the same everywhere, lose their further channels. Everything else is
    refused with the file's name.

    Args:
        num_classes: number of classes with the background, at most 255.
        ignore_index: value of pixels that do not count, such as those that nobody labelled; it becomes
            :py:data:`IGNORED`. None: every pixel counts.

    Returns:
        mask ``(1, *spatial)`` of the same container type, uint8.

    Raises:
        ValueError: when there are too many classes, a value is no class index, or the channels differ.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import MaskToIndex
        >>> MaskToIndex(num_classes=2)(torch.tensor([[[0, 255], [255, 0]]])).tolist()
        [[[0, 1], [1, 0]]]
        >>> MaskToIndex(num_classes=3, ignore_index=4)(torch.tensor([[[0, 2, 4]]])).tolist()
        [[[0, 2, 255]]]
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, num_classes: int, ignore_index: int | None = None) -> None:
        if num_classes > IGNORED:
            raise ValueError(f"There can be at most {IGNORED} classes with the background, got {num_classes}.")
        self.num_classes = num_classes
        self.ignore_index = ignore_index

    def __call__(self, mask: NdarrayOrTensor) -> NdarrayOrTensor:
        """
        Args:
            mask: channel-first mask of one image.
        """
        x: torch.Tensor = convert_to_tensor(mask, track_meta=False)
        x = x.to(torch.uint8) if x.dtype == torch.bool else x
        name = f"The mask {file_of(mask)!r}"
        if x.shape[0] > 1:
            grey = x[:3] if x.shape[0] == 4 and bool((x[3] == x[3].flatten()[:1]).all()) else x
            if not bool((grey == grey[:1]).all()):
                raise ValueError(
                    f"{name} has {x.shape[0]} channels that differ (shape {tuple(x.shape)}): save it with one channel, "
                    f"in which every pixel is a class index from 0 to {self.num_classes - 1}."
                )
            x = grey[:1]
        # as 64 bits: the byte 255 would equal -1
        ignored = None if self.ignore_index is None else (x if x.is_floating_point() else x.long()) == self.ignore_index
        values = torch.unique(x if ignored is None else x[~ignored]).double()
        if self.num_classes == 2:
            for highest in (255, 65535):  # of 8 and of 16 bits
                if bool(torch.isin(values, values.new_tensor([0, highest])).all()):
                    x = torch.where(x == highest, 1, x)
                    values = values.clamp(max=1)
        wrong = values[(values < 0) | (values >= self.num_classes) | (values != values.round())]
        if len(wrong):
            hint = " Masks of 0 and 255 are read as two classes only." if 255 in wrong.tolist() else ""
            odd = wrong[wrong != 255] if self.num_classes == 2 else wrong
            if len(odd) == 1 and ignored is None:
                hint += f" If {odd[0]:g} stands for pixels that do not count, set `ignore_index` to it."
            examples = [int(v) if float(v).is_integer() else v for v in wrong[:5].tolist()]
            raise ValueError(
                f"{name} has the values {examples}, but there are {self.num_classes} classes (`class_names`): every "
                f"pixel must be a class index from 0 to {self.num_classes - 1}.{hint}"
            )
        if ignored is not None:
            x = x.masked_fill(ignored, 0).to(torch.uint8).masked_fill(ignored, IGNORED)
        out: NdarrayOrTensor = convert_to_dst_type(x, dst=mask, dtype=torch.uint8)[0]
        return out


class HideUnlabeled(Transform):
    """
    Make what nobody labelled in a mask :py:data:`IGNORED`: slices of a volume, and classes.

    Whether a slice is labelled is said, never guessed from whether it is empty. Where a mask lacks a class, a pixel
    that it calls background may be of that class: there the background is not known, and is hidden. What the mask
    gives to its other classes stays.

    Args:
        num_classes: number of classes with the background.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import HideUnlabeled
        >>> mask = torch.tensor([[[[0, 0, 0], [1, 0, 1]]]])  # 1 x 2 pixels in 3 slices
        >>> HideUnlabeled(num_classes=3)(mask, labeled_slices=[0, 2]).tolist()
        [[[[0, 255, 0], [1, 255, 1]]]]
        >>> HideUnlabeled(num_classes=3)(mask, unlabeled_classes=[2]).tolist()
        [[[[255, 255, 255], [1, 255, 1]]]]
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    def __call__(
        self,
        mask: NdarrayOrTensor,
        labeled_slices: Sequence[int] | None = None,
        unlabeled_classes: Sequence[int] | None = None,
    ) -> NdarrayOrTensor:
        """
        Args:
            mask: class indices ``(1, *spatial)`` as :py:class:`MaskToIndex` gives them, not yet turned or cropped.
            labeled_slices: the slices along the last axis, from 0, that are labelled. None: all. Of one slice that was
                taken from a stack, ``meta["slice"]`` is its index.
            unlabeled_classes: classes that are not labelled. None or empty: none.

        Returns:
            the mask; the very object where nothing is hidden.

        Raises:
            ValueError: when there is no such slice or class, or the mask has a class that is said not to be labelled.
        """
        if labeled_slices is None and not unlabeled_classes:
            return mask
        x: torch.Tensor = convert_to_tensor(mask, track_meta=False)
        name = f"the mask {file_of(mask)!r}"
        hidden = torch.zeros_like(x, dtype=torch.bool)
        if labeled_slices is not None:
            taken = mask.meta.get("slice") if isinstance(mask, MetaTensor) else None
            depth = None if x.ndim != 4 else x.shape[-1] if taken is None else math.inf
            slices = check_labeled_slices(labeled_slices, depth, name)
            if taken is None:
                unlabeled = torch.ones(x.shape[-1], dtype=torch.bool, device=x.device)
                unlabeled[slices] = False
                hidden |= unlabeled
            elif int(taken) not in slices:
                hidden |= True
        if unlabeled_classes:
            present = [int(value) for value in torch.unique(x)]
            check_unlabeled_classes(unlabeled_classes, present, self.num_classes, name)
            hidden |= x == 0
        out: NdarrayOrTensor = convert_to_dst_type(torch.where(hidden, IGNORED, x), dst=mask)[0]
        return out


def check_labeled_slices(slices: Sequence[int], depth: float | None, name: str) -> list[int]:
    """
    The ``labeled_slices`` of an item of a data list.

    Args:
        slices: what the list says.
        depth: number of the volume's slices. None: it is no volume.
        name: what the mask is called.

    Raises:
        ValueError: when there is no such slice.
    """
    indices = _whole_numbers(slices, "labeled_slices", name)
    if depth is None:
        raise ValueError(f"`labeled_slices` are of volumes, but {name} is no volume: leave them out.")
    wrong = [i for i in indices if not 0 <= i < depth]
    if wrong:
        raise ValueError(
            f"`labeled_slices` name the slice {wrong[0]}, but {name} has {depth} slices, 0 to {depth - 1:g} along its "
            "last axis: count from 0, as the volume is stored."
        )
    return indices


def check_unlabeled_classes(classes: Sequence[int], present: Container[int], num_classes: int, name: str) -> None:
    """
    Look whether the ``unlabeled_classes`` of an item of a data list go with its mask.

    Args:
        classes: what the list says.
        present: classes that the mask has.
        num_classes: number of classes with the background.
        name: what the mask is called.

    Raises:
        ValueError: when there is no such class, or the mask has it.
    """
    indices = _whole_numbers(classes, "unlabeled_classes", name)
    unknown = [c for c in indices if not 1 <= c < num_classes]
    if unknown:
        raise ValueError(
            f"`unlabeled_classes` of {name} has {unknown[0]}, but classes that may be unlabeled go from 1 to "
            f"{num_classes - 1}: for pixels that nobody labeled use `ignore_index`."
        )
    there = [c for c in indices if c in present]
    if there:
        raise ValueError(
            f"`unlabeled_classes` says that {name} lacks class {there[0]}, but pixels of it are there: leave the class "
            "out of `unlabeled_classes`, or take it out of the mask."
        )


def _whole_numbers(values: Sequence[int], name: str, of: str) -> list[int]:
    """The values of an item of a data list, which may come from a file that somebody wrote."""
    if isinstance(values, str) or not all(isinstance(i, Integral) and not isinstance(i, bool) for i in values):
        raise ValueError(f"`{name}` of {of} must be a list of whole numbers, got {values!r}.")
    return [int(i) for i in values]


class KeepClassShares(Transform):
    """
    Weigh pixels so that every class counts in a mixed label as much as in the label before the mix.

    A mix that pastes chosen classes, as :py:class:`monai_sscm.transforms.SupervisedClassMix`, makes them more frequent
    than they are in images: where vessels are pasted onto vessels, their share doubles, and a network that learns from
    it sees vessels where there are none. So does a weight: where the teacher is sure of next to nothing, what was
    pasted counts alone. With the shares :math:`p_c` of class c in the pixels before the mix, and :math:`q_c` in the
    weight after it, of all that have a class in the samples that are given, a pixel's weight is multiplied by
    :math:`(p_c + s) / (q_c + s)`, the importance weight of a prior that has shifted.

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
        # no value is read back, so nothing waits for the device
        classes = range(self.num_classes)
        p = torch.stack([(before == index).float().sum() for index in classes])
        q = torch.stack([factors.where(after == index, 0).float().sum() for index in classes])
        p, q = p / p.sum().clamp_min(1), (q / q.sum()).nan_to_num(0.0)
        for index, ratio in enumerate((p + self.smooth) / (q + self.smooth)):
            members = after == index
            factors = torch.where(members, factors * ratio.nan_to_num(1.0), factors)
        out: NdarrayOrTensor = convert_to_dst_type(factors, dst=weight)[0]
        return out


def file_of(x: NdarrayOrTensor) -> str:
    """The file an image was read from, as far as its metadata tells."""
    return str(x.meta.get(ImageMetaKey.FILENAME_OR_OBJ, "?")) if isinstance(x, MetaTensor) else "?"
