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

"""ClassMix: classes of an unlabelled image, by its pseudo-label, are pasted onto another."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor

from .base import PasteMixd, as_batch, warn_of_one
from .class_paste import ClassPaste

__all__ = ["ClassMix", "ClassMixD", "ClassMixDict", "ClassMixd"]


class ClassMix(ClassPaste):
    """
    ClassMix: paste half of the classes of one unlabelled image onto another, pseudo-labels alike.

    Sample i receives from sample i + 1, the last from the first. The classes are those of the donor's pseudo-label,
    ``floor(n / 2)`` of the n present; the background counts as a class. Nothing is pasted where only one class is
    present, and a single sample, being its own donor, stays as it is.

    Olsson et al., "ClassMix: Segmentation-Based Data Augmentation for Semi-Supervised Learning", WACV 2021.

    Args:
        classes: what is pasted, see :py:class:`monai_sscm.transforms.SupervisedClassMix`.
        num_classes: number of classes with the background, at least 2.
        spatial_dims: number of spatial dimensions of the data, 2 or 3.
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
        classes: Sequence[int] | str = "random_half",
        *,
        num_classes: int,
        spatial_dims: int,
        ignore_index: int | None = None,
        prob: float = 1.0,
    ) -> None:
        super().__init__(classes, num_classes, spatial_dims, ignore_index, prob)

    def __call__(  # type: ignore[override]
        self, receiver: Sequence[NdarrayOrTensor], label: NdarrayOrTensor, randomize: bool = True
    ) -> tuple[tuple[NdarrayOrTensor, ...], NdarrayOrTensor]:
        """
        Args:
            receiver: images, pseudo-labels, weights: whatever is to be mixed alike.
            label: pseudo-label the classes are cut from, class indices in one channel or one-hot.
            randomize: whether to draw new random numbers, or to use those of the last call.

        Returns:
            the mixed receivers, and the boolean mask ``(B, 1, *spatial)`` or ``(1, *spatial)`` of what was pasted.
        """
        batched = self._is_batch((*receiver, label))
        warn_of_one(receiver, batched)
        reference = torch.roll(as_batch(label, batched), -1, dims=0)
        return self._paste(receiver, [as_batch(x, batched) for x in receiver], reference, randomize, offset=1)


class ClassMixd(PasteMixd):
    """
    Dictionary-based version of :py:class:`monai_sscm.transforms.ClassMix`: paste classes of one unlabelled image onto
    another, pseudo-labels and weights alike. The donor is the next sample of the batch.

    Args:
        keys: what is mixed: unlabelled image, pseudo-label, weight.
        label_key: the pseudo-label, which the classes are cut from.
        classes, num_classes, spatial_dims, output_keys, mask_key, ignore_index, prob, allow_missing_keys: see
            :py:class:`monai_sscm.transforms.SupervisedClassMixd`.

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
        classes: Sequence[int] | str = "random_half",
        *,
        num_classes: int,
        spatial_dims: int,
        output_keys: KeysCollection | None = None,
        mask_key: Hashable | None = None,
        ignore_index: int | None = None,
        prob: float = 1.0,
        allow_missing_keys: bool = False,
    ) -> None:
        self.mixer: ClassMix
        mixer = ClassMix(
            classes, num_classes=num_classes, spatial_dims=spatial_dims, ignore_index=ignore_index, prob=prob
        )
        super().__init__(mixer, keys, output_keys, mask_key, allow_missing_keys)
        self.label_key = label_key

    def mix(
        self, data: Mapping[Hashable, NdarrayOrTensor], keys: Sequence[Hashable]
    ) -> tuple[tuple[NdarrayOrTensor, ...], NdarrayOrTensor]:
        return self.mixer([data[key] for key in keys], self._get(data, self.label_key))


ClassMixD = ClassMixDict = ClassMixd
