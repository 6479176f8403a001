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

"""Supervised ClassMix (SupMix): classes of a labelled image are pasted onto an unlabelled one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor

from .base import PasteMixd, as_batch
from .class_paste import ClassPaste

__all__ = ["SupervisedClassMix", "SupervisedClassMixD", "SupervisedClassMixDict", "SupervisedClassMixd"]


class SupervisedClassMix(ClassPaste):
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

    def __call__(  # type: ignore[override]
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
        donors = [None if x is None else as_batch(x, batched) for x in donor]
        return self._paste(receiver, donors, as_batch(label, batched), randomize)


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


SupervisedClassMixD = SupervisedClassMixDict = SupervisedClassMixd
