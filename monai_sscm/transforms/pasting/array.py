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
Mixing transforms that paste a region of a donor image onto a receiver image, label and weight alike.

See :py:mod:`monai_sscm.transforms.pasting.dictionary` for the dictionary versions.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms.transform import RandomizableTransform
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_tensor
from torch.nn.functional import max_pool2d, max_pool3d

__all__ = ["ClassMix", "CutMixSeg", "PasteMix", "SupervisedClassMix"]


class PasteMix(RandomizableTransform):
    """
    Base of the transforms that paste a region of a donor onto a receiver: ``M * donor + (1 - M) * receiver``.

    A subclass says where to paste in :py:meth:`mask` and brings the donor. Everything else is here, so that images,
    labels and weights are always cut along the same edge.

    Every input has ``spatial_dims + 1`` dimensions (one sample, channel first) or ``spatial_dims + 2`` (a batch); all
    inputs of a call are of one kind. Random numbers are drawn for the whole batch in the order of its samples, so a
    batch gives what its samples would give in a row. Nothing here waits for the device: no value is read back.

    Args:
        spatial_dims: number of spatial dimensions of the data, 2 or 3.
        num_draws: how many random numbers in [0, 1) ``mask`` needs for a sample.
        prob: probability for a sample to receive a paste; the others stay as they are.
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, spatial_dims: int, num_draws: int, prob: float = 1.0) -> None:
        super().__init__(prob)
        if spatial_dims not in (2, 3):
            raise ValueError(f"`spatial_dims` must be 2 or 3, got {spatial_dims!r}.")
        if not 0 <= prob <= 1:
            raise ValueError(f"`prob` must lie in [0, 1], got {prob!r}.")
        self.spatial_dims = spatial_dims
        self.num_draws = num_draws
        self._draws = np.empty((0, 1 + num_draws))

    def randomize(self, data: int) -> None:
        """
        Draw the random numbers of a batch.

        Args:
            data: number of samples in the batch.
        """
        # all numbers are drawn whether used or not: the stream does not depend on `prob` or on the images
        self._draws = self.R.random_sample((data, 1 + self.num_draws))

    @abstractmethod
    def mask(self, reference: torch.Tensor) -> torch.Tensor:
        """
        Where to paste, from the random numbers in ``self._draws[:, 1:]``.

        Args:
            reference: what the region is cut from, a batch ``(B, C, *spatial)``, in the order of the receivers: the
                donors' labels for class mixes.

        Returns:
            boolean mask ``(B, 1, *spatial)``, true where the donor is pasted.
        """
        raise NotImplementedError(f"Subclass {self.__class__.__name__} must implement this method.")

    def _is_batch(self, data: Sequence[NdarrayOrTensor]) -> bool:
        """Whether the arrays of one call are batches; refuses everything that is neither a sample nor a batch."""
        found = {x.ndim for x in data}
        if found == {self.spatial_dims + 1}:
            return False
        if found == {self.spatial_dims + 2}:
            return True
        raise ValueError(
            f"{self.__class__.__name__}(spatial_dims={self.spatial_dims}) takes channel-first samples with "
            f"{self.spatial_dims + 1} dimensions or batches with {self.spatial_dims + 2}, all of one kind, "
            f"got shapes {[tuple(x.shape) for x in data]}."
        )

    def _paste(
        self,
        receiver: Sequence[NdarrayOrTensor],
        donor: Sequence[torch.Tensor | None],
        reference: torch.Tensor,
        randomize: bool,
        offset: int = 0,
    ) -> tuple[tuple[NdarrayOrTensor, ...], NdarrayOrTensor]:
        """
        Paste ``donor`` onto ``receiver`` where the mask of ``reference`` is true.

        Args:
            receiver: samples or batches of any container type.
            donor: plain tensors in batch form, one for each of ``receiver``, or None for the constant 1.
            reference: plain tensor in batch form, handed to ``mask``; repeated if it is shorter than the receiver.
            randomize: whether to draw anew.
            offset: receiver i takes donor (i + offset) mod B, where B is the number of donors.
        """
        batched = self._is_batch(receiver)
        plain = [_as_batch(x, batched) for x in receiver]
        num_samples, spatial = plain[0].shape[0], plain[0].shape[2:]
        for x in (*plain, *(x for x in donor if x is not None), reference):
            if x.shape[2:] != spatial:
                raise ValueError(
                    f"Receiver and donor must have one spatial size, got {tuple(spatial)} and {tuple(x.shape[2:])}: "
                    "crop or resize both to the same size."
                )
        for x in plain:
            if x.shape[0] != num_samples:
                raise ValueError(f"The receiver's batches differ in length: {[len(x) for x in plain]}.")
        for x, y in zip(plain, donor, strict=True):
            if y is not None and x.shape[1] != y.shape[1]:
                raise ValueError(
                    f"Receiver and donor must have the same channels, got {x.shape[1]} and {y.shape[1]}. "
                    "If these are labels, make both index maps (one channel) or both one-hot."
                )

        if randomize:
            self.randomize(num_samples)
        if len(self._draws) != num_samples:
            raise ValueError(
                f"Random numbers were drawn for {len(self._draws)} samples, the batch has {num_samples}: "
                "call with `randomize=True`, or call `randomize(batch_size)` first."
            )
        mask = self.mask(_repeat(reference, num_samples))
        if self.prob < 1:
            chosen = _to_device(self._draws[:, 0] < self.prob, mask.device)
            mask = mask & chosen.view(-1, *(1,) * (mask.ndim - 1))
        mixed = [
            _like(_select(mask, y, x, offset), original, batched)
            for original, x, y in zip(receiver, plain, donor, strict=True)
        ]
        return tuple(mixed), _like(mask, receiver[0], batched, dtype=bool)


class _ClassPaste(PasteMix):
    """What the class mixes share: a mask from the classes of the donor's label."""

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
        wide = mask.float()
        pool = max_pool2d if self.spatial_dims == 2 else max_pool3d
        for axis in range(self.spatial_dims):  # one axis after the other: a box at the price of its sides
            here = [self.margin * (i == axis) for i in range(self.spatial_dims)]
            wide = pool(wide, [2 * m + 1 for m in here], stride=1, padding=here)
        if self.ignore_index is None:
            return wide > 0
        one_hot = reference.shape[1] != 1
        ignored = reference[:, self._ignored] != 0 if one_hot else reference == self.ignore_index
        return (wide > 0) & ~ignored.any(1, keepdim=True)

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
        keys = _to_device(self._draws[:, 1:].astype(np.float32), present.device)
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


class ClassMix(_ClassPaste):
    """
    ClassMix: paste half of the classes of one unlabelled image onto another, pseudo-labels alike.

    Sample i receives from sample i + 1, the last from the first. The classes are those of the donor's pseudo-label,
    ``floor(n / 2)`` of the n present; the background counts as a class. Nothing is pasted where only one class is
    present, and a single sample, being its own donor, stays as it is.

    Olsson et al., "ClassMix: Segmentation-Based Data Augmentation for Semi-Supervised Learning", WACV 2021.

    Args:
        num_classes: number of classes with the background, at least 2.
        spatial_dims: number of spatial dimensions of the data, 2 or 3.
        classes: what is pasted, see :py:class:`SupervisedClassMix`.
        ignore_index: label value that is never pasted.
        prob: probability for a sample to receive a paste.

    Raises:
        ValueError: when an argument, a shape or a label is not as described.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import ClassMix
        >>> image, pseudo_label = torch.rand(4, 3, 32, 32), torch.randint(0, 3, (4, 1, 32, 32))
        >>> mix = ClassMix(num_classes=3, spatial_dims=2).set_random_state(0)
        >>> (mixed_image, mixed_label), mask = mix((image, pseudo_label), label=pseudo_label)
        >>> mixed_image.shape, mask.dtype
        (torch.Size([4, 3, 32, 32]), torch.bool)
    """

    def __init__(
        self,
        num_classes: int,
        spatial_dims: int,
        classes: Sequence[int] | str = "random_half",
        ignore_index: int | None = None,
        prob: float = 1.0,
    ) -> None:
        super().__init__(classes, num_classes, spatial_dims, ignore_index, prob)

    def __call__(
        self, data: Sequence[NdarrayOrTensor], label: NdarrayOrTensor, randomize: bool = True
    ) -> tuple[tuple[NdarrayOrTensor, ...], NdarrayOrTensor]:
        """
        Args:
            data: images, pseudo-labels, weights: whatever is to be mixed alike.
            label: pseudo-label the classes are cut from, class indices in one channel or one-hot.
            randomize: whether to draw new random numbers, or to use those of the last call.

        Returns:
            the mixed ``data``, and the boolean mask ``(B, 1, *spatial)`` or ``(1, *spatial)`` of what was pasted.
        """
        batched = self._is_batch((*data, label))
        _warn_of_one(data, batched)
        reference = torch.roll(_as_batch(label, batched), -1, dims=0)
        return self._paste(data, [_as_batch(x, batched) for x in data], reference, randomize, offset=1)


class SupervisedClassMix(_ClassPaste):
    """
    Supervised ClassMix (SupMix): paste classes of a labelled image, with their true labels, onto an unlabelled image
    and its pseudo-label.

    With donor :math:`(x_d, y_d)` and classes :math:`C`, the mask is :math:`M = [y_d \\in C]` and every receiver
    becomes :math:`M \\cdot donor + (1 - M) \\cdot receiver`. The labels are true, so the mask is exact, and the weight
    of what was pasted is 1. A donor without any of the classes leaves the receiver as it is. Receiver i takes donor
    i mod B, where B is the number of donors.

    Mano, Saito, Hotta, "Accuracy Improvement of Semi-Supervised Segmentation Using Supervised ClassMix and Sup-Unsup
    Feature Discriminator", VISAPP 2025.

    Args:
        classes: what is pasted: class indices, of which all that are present are pasted; ``"foreground"``, all but
            class 0; ``"random_half"``, floor(n / 2) of the n classes present, drawn for every sample as in ClassMix.
        num_classes: number of classes with the background, at least 2.
        spatial_dims: number of spatial dimensions of the data, 2 or 3.
        ignore_index: label value that is never pasted.
        prob: probability for a sample to receive a paste.
        margin: how many pixels around the classes, to each side, are pasted with them, with their true labels too. Thin
            structures then keep their surroundings, and their edges are no seam; 0 for the classes alone.

    Raises:
        ValueError: when an argument, a shape or a label is not as described. Whether a one-hot label overlaps
            (multi-label) is checked on the CPU only.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import SupervisedClassMix
        >>> unlabeled, weight = torch.rand(4, 1, 32, 32), torch.rand(4, 1, 32, 32)
        >>> pseudo_label = torch.zeros(4, 1, 32, 32)
        >>> image, label = torch.rand(2, 1, 32, 32), torch.randint(0, 3, (2, 1, 32, 32))
        >>> mix = SupervisedClassMix(classes=(2,), num_classes=3, spatial_dims=2)
        >>> mixed, mask = mix((unlabeled, pseudo_label, weight), donor=(image, label, None), label=label)
        >>> torch.equal(mask[:2], label == 2), bool((mixed[2][mask] == 1).all())
        (True, True)
    """

    def __call__(
        self,
        receiver: Sequence[NdarrayOrTensor],
        donor: Sequence[NdarrayOrTensor | None],
        label: NdarrayOrTensor,
        randomize: bool = True,
    ) -> tuple[tuple[NdarrayOrTensor, ...], NdarrayOrTensor]:
        """
        Args:
            receiver: the unlabelled image, its pseudo-label, its weight: whatever is to be mixed alike.
            donor: what is pasted onto each receiver, in the same order; None stands for the constant 1.
            label: true label of the donor, class indices in one channel or one-hot.
            randomize: whether to draw new random numbers, or to use those of the last call.

        Returns:
            the mixed receivers, and the boolean mask ``(B, 1, *spatial)`` or ``(1, *spatial)`` of what was pasted.
        """
        if len(receiver) != len(donor):
            raise ValueError(f"Every receiver needs a donor or None, got {len(receiver)} and {len(donor)}.")
        batched = self._is_batch((*receiver, *(x for x in donor if x is not None), label))
        donors = [None if x is None else _as_batch(x, batched) for x in donor]
        return self._paste(receiver, donors, _as_batch(label, batched), randomize)


class CutMixSeg(PasteMix):
    """
    CutMix for segmentation: paste a random box of one image onto another, pseudo-labels alike.

    Sample i receives from sample i + 1, the last from the first; a single sample stays as it is. With donors of their
    own, such as labelled images as in BCP, receiver i takes donor i mod B, where B is the number of donors. The box
    covers the share ``area`` of the image and has a random shape: the logarithms of its sides, as shares of the
    image's, add up to the logarithm of ``area``, and are uniform on all the ways to do so; with ``max_aspect`` they are
    drawn together towards a cube until no box is longer than that, in 2D uniformly on what it leaves.

    French et al., "Semi-supervised semantic segmentation needs strong, varied perturbations", BMVC 2020. Bai et al.,
    "Bidirectional copy-paste for semi-supervised medical image segmentation", CVPR 2023.

    Args:
        spatial_dims: number of spatial dimensions of the data, 2 or 3.
        area: share of the image (area, or volume in 3D) that the box covers, in (0, 1]: a number or a range.
        prob: probability for a sample to receive a paste.
        max_aspect: how many times as long as its shortest side the box's longest may be, both as shares of the image's;
            1 for a box of the image's shape. None: any.

    Raises:
        ValueError: when an argument or a shape is not as described.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import CutMixSeg
        >>> image, pseudo_label = torch.rand(4, 1, 32, 32), torch.randint(0, 2, (4, 1, 32, 32))
        >>> (mixed_image, mixed_label), mask = CutMixSeg(spatial_dims=2)((image, pseudo_label))
        >>> mask.shape
        torch.Size([4, 1, 32, 32])
    """

    def __init__(
        self,
        spatial_dims: int,
        area: float | tuple[float, float] = 0.5,
        prob: float = 1.0,
        max_aspect: float | None = None,
    ) -> None:
        # the share of the area, where to split its logarithm among the sides, and where the box begins
        super().__init__(spatial_dims=spatial_dims, num_draws=1 + (spatial_dims - 1) + spatial_dims, prob=prob)
        low, high = (area, area) if isinstance(area, (int, float)) else area
        if not 0 < low <= high <= 1:
            raise ValueError(f"`area` must be a share in (0, 1] or a range of shares, got {area!r}.")
        if max_aspect is not None and not max_aspect >= 1:
            raise ValueError(f"`max_aspect` is the longest side by the shortest, at least 1, got {max_aspect!r}.")
        self.area = (float(low), float(high))
        self.max_aspect = max_aspect

    def __call__(
        self,
        data: Sequence[NdarrayOrTensor],
        randomize: bool = True,
        donor: Sequence[NdarrayOrTensor | None] | None = None,
    ) -> tuple[tuple[NdarrayOrTensor, ...], NdarrayOrTensor]:
        """
        Args:
            data: images, pseudo-labels, weights: whatever is to be mixed alike.
            randomize: whether to draw new random numbers, or to use those of the last call.
            donor: what is pasted onto each of ``data``, in the same order; None stands for the constant 1. None
                altogether: the next sample of the batch.

        Returns:
            the mixed ``data``, and the boolean mask ``(B, 1, *spatial)`` or ``(1, *spatial)`` of what was pasted.
        """
        given = data if donor is None else donor
        if len(given) != len(data):
            raise ValueError(f"Every receiver needs a donor or None, got {len(data)} and {len(given)}.")
        batched = self._is_batch((*data, *(x for x in given if x is not None)))
        if donor is None:
            _warn_of_one(data, batched)
        donors = [None if x is None else _as_batch(x, batched) for x in given]
        return self._paste(data, donors, _as_batch(data[0], batched), randomize, offset=int(donor is None))

    def mask(self, reference: torch.Tensor) -> torch.Tensor:
        size = np.array(reference.shape[2:])
        draws = self._draws[:, 1:]
        area = self.area[0] + (self.area[1] - self.area[0]) * draws[:, :1]
        cuts = np.sort(draws[:, 1 : self.spatial_dims], axis=1)
        shares = np.diff(cuts, axis=1, prepend=0.0, append=1.0)
        if self.max_aspect is not None:
            # the logarithm of the box's aspect is at most that of its area: draw the sides closer together
            room = np.log(self.max_aspect) / np.maximum(-np.log(area), 1e-9)
            shares = 1 / self.spatial_dims + np.minimum(1, room) * (shares - 1 / self.spatial_dims)
        length = np.clip(np.rint(area**shares * size), 1, size).astype(int)
        start = np.floor(draws[:, self.spatial_dims :] * (size - length + 1)).astype(int)

        mask = torch.ones((len(draws), 1, *(1,) * self.spatial_dims), dtype=torch.bool, device=reference.device)
        for axis in range(self.spatial_dims):
            position = torch.arange(int(size[axis]), device=reference.device)
            begin = _to_device(start[:, axis, None], reference.device)
            end = _to_device(start[:, axis, None] + length[:, axis, None], reference.device)
            inside = (position >= begin) & (position < end)
            mask = mask & inside.view(len(draws), 1, *(-1 if a == axis else 1 for a in range(self.spatial_dims)))
        return mask


def _to_device(values: np.ndarray, device: torch.device) -> torch.Tensor:
    """Random numbers on the device, without waiting for it."""
    return torch.as_tensor(values).to(device, non_blocking=True)


def _as_batch(x: NdarrayOrTensor, batched: bool) -> torch.Tensor:
    """Plain tensor without metadata, in batch form."""
    out: torch.Tensor = convert_to_tensor(x, track_meta=False)
    return out if batched else out[None]


def _warn_of_one(data: Sequence[NdarrayOrTensor], batched: bool) -> None:
    if batched and len(data[0]) == 1:
        warnings.warn("A batch of one image has no other to paste from and stays as it is: use larger batches.")


def _repeat(x: torch.Tensor, num_samples: int) -> torch.Tensor:
    """The batch in which sample i is the sample i mod B of ``x``."""
    if x.shape[0] >= num_samples:
        return x[:num_samples]
    return x[torch.arange(num_samples, device=x.device) % x.shape[0]]


def _select(mask: torch.Tensor, donor: torch.Tensor | None, receiver: torch.Tensor, offset: int) -> torch.Tensor:
    """
    The receiver with, where the mask is true, its donor; in one pass over the bytes, without a reordered copy.

    On tensors without metadata: ``torch.where`` would return the donor's.
    """
    if donor is None:
        return torch.where(mask, torch.ones((), dtype=receiver.dtype, device=receiver.device), receiver)
    donor = donor.to(receiver.dtype)
    out = torch.empty_like(receiver)
    start = 0
    while start < len(receiver):
        first = (start + offset) % len(donor)
        number = min(len(donor) - first, len(receiver) - start)
        here = slice(start, start + number)
        torch.where(mask[here], donor[first : first + number], receiver[here], out=out[here])
        start += number
    return out


def _like(x: torch.Tensor, original: NdarrayOrTensor, batched: bool, dtype: type | None = None) -> NdarrayOrTensor:
    """``x`` as the container type of ``original``, with its metadata."""
    out: NdarrayOrTensor = convert_to_dst_type(x if batched else x[0], dst=original, dtype=dtype or original.dtype)[0]
    return out
