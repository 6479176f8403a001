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

"""What the class mixes share: the region is that of classes of a label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import max_pool2d, max_pool3d

from .base import PasteMix, to_device

__all__ = ["ClassPaste"]


class ClassPaste(PasteMix):
    """
    Base of the class mixes: the mask is where the donor's label has the chosen classes, and a margin around them.

    Args:
        classes, num_classes, spatial_dims, ignore_index, prob, margin: see
            :py:class:`monai_sscm.transforms.SupervisedClassMix`.

    Raises:
        ValueError: when an argument is not as described there.
    """

    def __init__(
        self,
        classes: Sequence[int] | str,
        num_classes: int,
        spatial_dims: int,
        ignore_index: int | None = None,
        prob: float = 1.0,
        margin: int = 0,
    ) -> None:
        super().__init__(spatial_dims=spatial_dims, num_draws=num_classes, prob=prob)
        if margin < 0:
            raise ValueError(f"`margin` must not be negative, got {margin!r}.")
        if num_classes < 2:
            raise ValueError(f"`num_classes` counts the background and must be at least 2, got {num_classes!r}.")
        if isinstance(classes, str):
            if classes not in ("random_half", "foreground"):
                raise ValueError(
                    f"`classes` must be a sequence of class indices, 'random_half' or 'foreground', got {classes!r}."
                )
        else:
            classes = tuple(int(c) for c in classes)
            wrong = [c for c in classes if not 0 <= c < num_classes or c == ignore_index]
            if wrong or not classes or len(set(classes)) != len(classes):
                raise ValueError(
                    f"`classes` must be different class indices from 0 to {num_classes - 1}"
                    f"{'' if ignore_index is None else f' without ignore_index {ignore_index}'}, got {classes}."
                )
        self.classes = classes
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.margin = margin
        # channels of one-hot labels that are ignored
        self._ignored = [c for c in range(num_classes) if c == ignore_index]

    def mask(self, reference: torch.Tensor) -> torch.Tensor:
        mask = self._of_classes(reference)
        if self.margin == 0:
            return mask
        dilated = mask.float()
        pool = max_pool2d if self.spatial_dims == 2 else max_pool3d
        for axis in range(self.spatial_dims):  # one axis after the other: a box at the price of its sides
            padding = [self.margin * (i == axis) for i in range(self.spatial_dims)]
            dilated = pool(dilated, [2 * m + 1 for m in padding], stride=1, padding=padding)
        if self.ignore_index is None:
            return dilated > 0
        one_hot = reference.shape[1] != 1
        ignored = reference[:, self._ignored] != 0 if one_hot else reference == self.ignore_index
        return (dilated > 0) & ~ignored.any(1, keepdim=True)

    def _of_classes(self, reference: torch.Tensor) -> torch.Tensor:
        """Where the chosen classes are."""
        batch_size, channels = reference.shape[:2]
        if channels == self.num_classes:
            self._refuse_overlap(reference)
            chosen = self._choose(batch_size, reference.device)
            if self.classes == "random_half":
                chosen = self._half((reference != 0).flatten(2).any(-1) & chosen)
            return ((reference != 0) & chosen.view(*chosen.shape, *(1,) * self.spatial_dims)).any(1, keepdim=True)
        if channels != 1:
            raise ValueError(
                f"A label must have one channel (class indices) or num_classes={self.num_classes} channels (one-hot), "
                f"got {channels} channels in shape {tuple(reference.shape)}."
            )
        # one column more than there are classes: labels that are no class (ignored, negative) fall there, never chosen
        index = reference.flatten(1).long()
        if self._leaves_classes(index):
            index = torch.where((index < 0) | (index >= self.num_classes), self.num_classes, index)
        chosen = self._choose(batch_size, reference.device)
        if self.classes == "random_half":
            present = torch.zeros((batch_size, self.num_classes + 1), dtype=torch.bool, device=index.device)
            chosen = self._half(present.scatter_(1, index, True)[:, : self.num_classes] & chosen)
        chosen = torch.cat([chosen, torch.zeros_like(chosen[:, :1])], dim=1)
        return chosen.gather(1, index).view(reference.shape)

    def _choose(self, batch_size: int, device: torch.device) -> torch.Tensor:
        """Classes that may be pasted, ``(B, num_classes)``."""
        allowed = torch.ones(self.num_classes, dtype=torch.bool)
        if isinstance(self.classes, tuple):
            allowed = torch.zeros(self.num_classes, dtype=torch.bool)
            allowed[list(self.classes)] = True
        elif self.classes == "foreground":
            allowed[0] = False
        if self.ignore_index is not None and 0 <= self.ignore_index < self.num_classes:
            allowed[self.ignore_index] = False
        return allowed.to(device, non_blocking=True).expand(batch_size, -1)

    def _half(self, present: torch.Tensor) -> torch.Tensor:
        """``floor(n / 2)`` of the n classes present, without replacement: those with the smallest random keys."""
        keys = to_device(self._draws[:, 1:].astype(np.float32), present.device)
        rank = torch.where(present, keys, 2.0).argsort(dim=1).argsort(dim=1)
        return present & (rank < present.sum(dim=1, keepdim=True) // 2)

    def _leaves_classes(self, index: torch.Tensor) -> bool:
        """Whether the label may have values that are no class; refuses those that are not ``ignore_index`` either."""
        # reading a value back would stall an accelerator, so only labels in host memory are looked at
        if index.device.type != "cpu" or index.numel() == 0:
            return True
        low, high = index.aminmax()
        if 0 <= int(low) and int(high) < self.num_classes:
            return False
        wrong = (index < 0) | (index >= self.num_classes)
        if self.ignore_index is not None:
            wrong &= index != self.ignore_index
        if bool(wrong.any()):
            raise ValueError(
                f"The label has the value {int(index[wrong][0])}, but with num_classes={self.num_classes} class "
                f"indices go from 0 to {self.num_classes - 1}. Convert masks of 0 and 255 with MaskToIndexd, or "
                "name the value as `ignore_index`."
            )
        return True

    @staticmethod
    def _refuse_overlap(label: torch.Tensor) -> None:
        # as above: only where looking costs nothing
        if label.device.type == "cpu" and bool(((label != 0).sum(1) > 1).any()):
            raise ValueError(
                "The label is an overlapping (multi-label) mask: some pixels belong to more than one class. "
                "Class mixing needs exclusive classes, so that a pasted pixel has one label; merge or rank the classes."
            )
