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

"""CutMix for segmentation: a box of one image is pasted onto another."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor

from .base import PasteMix, PasteMixd, as_batch, to_device, warn_of_one

__all__ = ["CutMixSeg", "CutMixSegD", "CutMixSegDict", "CutMixSegd"]


class CutMixSeg(PasteMix):
    """
    CutMix for segmentation: paste a random box of one image onto another, pseudo-labels alike.

    Sample i receives from sample i + 1, the last from the first; a single sample stays as it is. With donors of their
    own, such as labelled images as in BCP, receiver i takes donor i mod B, where B is the number of donors. The box
    covers the share ``area`` of the image and has a random shape: the logarithms of its sides, as shares of the
    image's, add up to the logarithm of ``area``, and are uniform on all the ways to do so; with ``max_aspect`` they are
    drawn together towards a cube until no box is longer than that, in 2D uniformly on what it leaves.

    A box is pasted whole: ignored pixels of a donor's label are ignored in the mixed label too, and so in no loss.

    French et al., "Semi-supervised semantic segmentation needs strong, varied perturbations", BMVC 2020. Bai et al.,
    "Bidirectional copy-paste for semi-supervised medical image segmentation", CVPR 2023.

    Args:
        spatial_dims: number of spatial dimensions of the data, 2 or 3.
        area: share of the image (area, or volume in 3D) that the box covers, in (0, 1]: a number or a range.
        max_aspect: how many times as long as its shortest side the box's longest may be, both as shares of the image's;
            1 for a box of the image's shape. None: any.
        prob: probability for a sample to receive a paste.

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
        max_aspect: float | None = None,
        prob: float = 1.0,
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

    def __call__(  # type: ignore[override]
        self,
        receiver: Sequence[NdarrayOrTensor],
        donor: Sequence[NdarrayOrTensor | None] | None = None,
        randomize: bool = True,
    ) -> tuple[tuple[NdarrayOrTensor, ...], NdarrayOrTensor]:
        """
        Args:
            receiver: images, pseudo-labels, weights: whatever is to be mixed alike.
            donor: what is pasted onto each receiver, in the same order; None stands for the constant 1. None
                altogether: the next sample of the batch.
            randomize: whether to draw new random numbers, or to use those of the last call.

        Returns:
            the mixed receivers, and the boolean mask ``(B, 1, *spatial)`` or ``(1, *spatial)`` of what was pasted.
        """
        offset = 0 if donor is not None else 1
        donor = receiver if donor is None else donor
        if len(receiver) != len(donor):
            raise ValueError(f"Every receiver needs a donor or None, got {len(receiver)} and {len(donor)}.")
        batched = self._is_batch((*receiver, *(x for x in donor if x is not None)))
        if offset:
            warn_of_one(receiver, batched)
        donors = [None if x is None else as_batch(x, batched) for x in donor]
        return self._paste(receiver, donors, as_batch(receiver[0], batched), randomize, offset)

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
            begin = to_device(start[:, axis, None], reference.device)
            end = to_device(start[:, axis, None] + length[:, axis, None], reference.device)
            inside = (position >= begin) & (position < end)
            mask = mask & inside.view(len(draws), 1, *(-1 if a == axis else 1 for a in range(self.spatial_dims)))
        return mask


class CutMixSegd(PasteMixd):
    """
    Dictionary-based version of :py:class:`monai_sscm.transforms.CutMixSeg`: paste a random box of one unlabelled image
    onto another, pseudo-labels and weights alike. The donor is the next sample of the batch, or, with ``donor_keys``,
    another image, such as a labelled one.

    Args:
        keys: what is mixed: unlabelled image, pseudo-label, weight.
        donor_keys: what is pasted onto each of ``keys``, in the same order; None in it stands for the constant 1. None:
            the next sample of the batch.
        spatial_dims: number of spatial dimensions of the data, 2 or 3.
        area: share of the image that the box covers, a number or a range.
        max_aspect: how many times as long as its shortest side the box's longest may be, see the array version.
        output_keys, mask_key, prob, allow_missing_keys: see :py:class:`monai_sscm.transforms.SupervisedClassMixd`.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import CutMixSegd
        >>> batch = {"unlabeled_image": torch.rand(4, 1, 32, 32), "pseudo_label": torch.randint(0, 3, (4, 1, 32, 32))}
        >>> mixed = CutMixSegd(list(batch), spatial_dims=2, area=(0.02, 0.4), mask_key="mixed_mask")(batch)
        >>> mixed["mixed_mask"].shape
        torch.Size([4, 1, 32, 32])
    """

    def __init__(
        self,
        keys: KeysCollection,
        donor_keys: Sequence[Hashable | None] | Hashable | None = None,
        *,
        spatial_dims: int,
        area: float | tuple[float, float] = 0.5,
        max_aspect: float | None = None,
        output_keys: KeysCollection | None = None,
        mask_key: Hashable | None = None,
        prob: float = 1.0,
        allow_missing_keys: bool = False,
    ) -> None:
        self.mixer: CutMixSeg
        mixer = CutMixSeg(spatial_dims, area, max_aspect, prob)
        super().__init__(mixer, keys, output_keys, mask_key, allow_missing_keys)
        self.donor_keys = None if donor_keys is None else self._donor_keys(donor_keys)

    def mix(
        self, data: Mapping[Hashable, NdarrayOrTensor], keys: Sequence[Hashable]
    ) -> tuple[tuple[NdarrayOrTensor, ...], NdarrayOrTensor]:
        donor = None if self.donor_keys is None else self._donors(data, keys, self.donor_keys)
        return self.mixer([data[key] for key in keys], donor)


CutMixSegD = CutMixSegDict = CutMixSegd
