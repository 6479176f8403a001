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
Dictionary-based mixing transforms, see :py:mod:`monai_sscm.transforms.pasting.array`.

Class names end with 'd' to denote dictionary-based transforms.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms.transform import MapTransform, RandomizableTransform
from monai.utils import ensure_tuple

from .array import ClassMix, CutMixSeg, PasteMix, SupervisedClassMix

__all__ = [
    "ClassMixD",
    "ClassMixDict",
    "ClassMixd",
    "CutMixSegD",
    "CutMixSegDict",
    "CutMixSegd",
    "PasteMixd",
    "SupervisedClassMixD",
    "SupervisedClassMixDict",
    "SupervisedClassMixd",
]


class PasteMixd(MapTransform, RandomizableTransform):
    """
    Base of the dictionary-based mixing transforms: reads the receivers in ``keys``, writes ``output_keys``.

    Args:
        mixer: the array transform.
        keys: receivers, whose metadata the results keep.
        output_keys: where the results go, one for each of ``keys``; None overwrites ``keys``.
        mask_key: where the boolean mask of what was pasted goes; None keeps no mask.
        allow_missing_keys: whether to pass over receivers that are not there.
    """

    backend = PasteMix.backend

    def __init__(
        self,
        mixer: PasteMix,
        keys: KeysCollection,
        output_keys: KeysCollection | None = None,
        mask_key: Hashable | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, mixer.prob)
        self.mixer = mixer
        self.output_keys = self.keys if output_keys is None else ensure_tuple(output_keys)
        if len(self.output_keys) != len(self.keys):
            raise ValueError(f"Every key needs an output key, got {self.keys} and {self.output_keys}.")
        self.mask_key = mask_key

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> PasteMixd:
        super().set_random_state(seed, state)
        self.mixer.set_random_state(seed, state)
        return self

    def mix(
        self, data: Mapping[Hashable, NdarrayOrTensor], keys: Sequence[Hashable]
    ) -> tuple[tuple[NdarrayOrTensor, ...], NdarrayOrTensor]:
        """
        Mix the receivers in ``keys``, all of which are present.

        Returns:
            the mixed receivers and the mask.
        """
        raise NotImplementedError(f"Subclass {self.__class__.__name__} must implement this method.")

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        d = dict(data)
        present = list(self.key_iterator(d, self.output_keys))
        if not present:
            return d
        mixed, mask = self.mix(d, [key for key, _ in present])
        for (_, output_key), value in zip(present, mixed, strict=True):
            d[output_key] = value
        if self.mask_key is not None:
            d[self.mask_key] = mask
        return d

    def _donor_keys(self, donor_keys: Sequence[Hashable | None] | Hashable | None) -> tuple[Hashable | None, ...]:
        """A donor key, or None, for each of ``keys``."""
        donors = ensure_tuple(donor_keys)
        if len(donors) != len(self.keys):
            raise ValueError(f"Every key needs a donor key or None, got {self.keys} and {donors}.")
        return donors

    def _donors(
        self,
        data: Mapping[Hashable, NdarrayOrTensor],
        keys: Sequence[Hashable],
        donor_keys: Sequence[Hashable | None],
    ) -> list[NdarrayOrTensor | None]:
        """What is pasted onto each of the receivers."""
        donor_of = dict(zip(self.keys, donor_keys, strict=True))
        return [None if donor_of[key] is None else self._get(data, donor_of[key]) for key in keys]

    def _get(self, data: Mapping[Hashable, NdarrayOrTensor], key: Hashable) -> NdarrayOrTensor:
        """An entry that is needed whatever ``allow_missing_keys`` says."""
        if key not in data:
            raise KeyError(f"{self.__class__.__name__} needs the key {key!r}, the data has {list(data)}.")
        return data[key]


class SupervisedClassMixd(PasteMixd):
    """
    Dictionary-based version of :py:class:`monai_sscm.transforms.SupervisedClassMix`: paste classes of a labelled image
    onto an unlabelled image, its pseudo-label and its weight.

    Works on one sample or, behind the data loader, on a batch. The results keep the receivers' metadata.

    Args:
        keys: receivers: unlabelled image, pseudo-label, weight.
        donor_keys: what is pasted onto each of ``keys``, in the same order; None stands for the constant 1.
        label_key: the donor's true label, which the classes are cut from.
        classes: class indices, ``"foreground"`` or ``"random_half"``, see the array version.
        num_classes: number of classes with the background.
        spatial_dims: number of spatial dimensions of the data, 2 or 3.
        output_keys: where the results go; None overwrites ``keys``.
        mask_key: where the boolean mask of what was pasted goes; None keeps no mask.
        ignore_index: label value that is never pasted.
        prob: probability for a sample to receive a paste.
        allow_missing_keys: whether to pass over receivers that are not there.
        margin: how many pixels around the classes are pasted with them, see the array version.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import SupervisedClassMixd
        >>> mix = SupervisedClassMixd(
        ...     keys=("unlabeled_image", "pseudo_label", "pseudo_weight"),
        ...     donor_keys=("image", "label", None),
        ...     label_key="label",
        ...     classes=(1, 2),
        ...     num_classes=3,
        ...     spatial_dims=2,
        ...     output_keys=("mixed_image", "mixed_label", "mixed_weight"),
        ... )
        >>> batch = {
        ...     "image": torch.rand(4, 1, 32, 32),
        ...     "label": torch.randint(0, 3, (4, 1, 32, 32)),
        ...     "unlabeled_image": torch.rand(4, 1, 32, 32),
        ...     "pseudo_label": torch.zeros(4, 1, 32, 32, dtype=torch.long),
        ...     "pseudo_weight": torch.full((4, 1, 32, 32), 0.5),
        ... }
        >>> batch = mix(batch)
        >>> torch.equal(batch["mixed_label"], batch["label"])  # nothing but background in the pseudo-label
        True
    """

    def __init__(
        self,
        keys: KeysCollection,
        donor_keys: Sequence[Hashable | None] | Hashable | None,
        label_key: Hashable,
        classes: Sequence[int] | str,
        num_classes: int,
        spatial_dims: int,
        output_keys: KeysCollection | None = None,
        mask_key: Hashable | None = None,
        ignore_index: int | None = None,
        prob: float = 1.0,
        allow_missing_keys: bool = False,
        margin: int = 0,
    ) -> None:
        self.mixer: SupervisedClassMix
        mixer = SupervisedClassMix(classes, num_classes, spatial_dims, ignore_index, prob, margin)
        super().__init__(mixer, keys, output_keys, mask_key, allow_missing_keys)
        self.donor_keys = self._donor_keys(donor_keys)
        self.label_key = label_key

    def mix(
        self, data: Mapping[Hashable, NdarrayOrTensor], keys: Sequence[Hashable]
    ) -> tuple[tuple[NdarrayOrTensor, ...], NdarrayOrTensor]:
        donor = self._donors(data, keys, self.donor_keys)
        return self.mixer([data[key] for key in keys], donor, self._get(data, self.label_key))


class ClassMixd(PasteMixd):
    """
    Dictionary-based version of :py:class:`monai_sscm.transforms.ClassMix`: paste classes of one unlabelled image onto
    another, pseudo-labels and weights alike. The donor is the next sample of the batch.

    Args:
        keys: what is mixed: unlabelled image, pseudo-label, weight.
        label_key: the pseudo-label, which the classes are cut from.
        num_classes: number of classes with the background.
        spatial_dims: number of spatial dimensions of the data, 2 or 3.
        classes: class indices, ``"foreground"`` or ``"random_half"``.
        output_keys: where the results go; None overwrites ``keys``.
        mask_key: where the boolean mask of what was pasted goes; None keeps no mask.
        ignore_index: label value that is never pasted.
        prob: probability for a sample to receive a paste.
        allow_missing_keys: whether to pass over keys that are not there.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import ClassMixd
        >>> batch = {"unlabeled_image": torch.rand(4, 1, 32, 32), "pseudo_label": torch.randint(0, 3, (4, 1, 32, 32))}
        >>> mix = ClassMixd(list(batch), label_key="pseudo_label", num_classes=3, spatial_dims=2, mask_key="mixed_mask")
        >>> sorted(mix(batch))
        ['mixed_mask', 'pseudo_label', 'unlabeled_image']
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: Hashable,
        num_classes: int,
        spatial_dims: int,
        classes: Sequence[int] | str = "random_half",
        output_keys: KeysCollection | None = None,
        mask_key: Hashable | None = None,
        ignore_index: int | None = None,
        prob: float = 1.0,
        allow_missing_keys: bool = False,
    ) -> None:
        self.mixer: ClassMix
        mixer = ClassMix(num_classes, spatial_dims, classes, ignore_index, prob)
        super().__init__(mixer, keys, output_keys, mask_key, allow_missing_keys)
        self.label_key = label_key

    def mix(
        self, data: Mapping[Hashable, NdarrayOrTensor], keys: Sequence[Hashable]
    ) -> tuple[tuple[NdarrayOrTensor, ...], NdarrayOrTensor]:
        return self.mixer([data[key] for key in keys], self._get(data, self.label_key))


class CutMixSegd(PasteMixd):
    """
    Dictionary-based version of :py:class:`monai_sscm.transforms.CutMixSeg`: paste a random box of one unlabelled image
    onto another, pseudo-labels and weights alike. The donor is the next sample of the batch, or, with ``donor_keys``,
    another image, such as a labelled one.

    Args:
        keys: what is mixed: unlabelled image, pseudo-label, weight.
        spatial_dims: number of spatial dimensions of the data, 2 or 3.
        area: share of the image that the box covers, a number or a range.
        output_keys: where the results go; None overwrites ``keys``.
        mask_key: where the boolean mask of what was pasted goes; None keeps no mask.
        prob: probability for a sample to receive a paste.
        allow_missing_keys: whether to pass over keys that are not there.
        donor_keys: what is pasted onto each of ``keys``, in the same order; None in it stands for the constant 1. None:
            the next sample of the batch.
        max_aspect: how many times as long as its shortest side the box's longest may be, see the array version.

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
        spatial_dims: int,
        area: float | tuple[float, float] = 0.5,
        output_keys: KeysCollection | None = None,
        mask_key: Hashable | None = None,
        prob: float = 1.0,
        allow_missing_keys: bool = False,
        donor_keys: Sequence[Hashable | None] | None = None,
        max_aspect: float | None = None,
    ) -> None:
        self.mixer: CutMixSeg
        mixer = CutMixSeg(spatial_dims, area, prob, max_aspect)
        super().__init__(mixer, keys, output_keys, mask_key, allow_missing_keys)
        self.donor_keys = None if donor_keys is None else self._donor_keys(donor_keys)

    def mix(
        self, data: Mapping[Hashable, NdarrayOrTensor], keys: Sequence[Hashable]
    ) -> tuple[tuple[NdarrayOrTensor, ...], NdarrayOrTensor]:
        donor = None if self.donor_keys is None else self._donors(data, keys, self.donor_keys)
        return self.mixer([data[key] for key in keys], donor=donor)


SupervisedClassMixD = SupervisedClassMixDict = SupervisedClassMixd
ClassMixD = ClassMixDict = ClassMixd
CutMixSegD = CutMixSegDict = CutMixSegd
