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

import nibabel
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import MapTransform, Orientation

from monai_sscm.io.grids import Grid, check_way_up

from .array import HideUnlabeled, KeepClassShares, MaskToIndex, file_of

__all__ = [
    "HideUnlabeledD",
    "HideUnlabeledDict",
    "HideUnlabeledd",
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
        image_key: image of which the masks must have the size and, if both say where they lie, the affine, up to turns
            by which axes are stored in another order or direction: such masks are turned. A picture and a volume of
            one slice are refused where one may be transposed to the other. None does not look.
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
            mask = _in_axes_of(mask, image)
            if image is not None:
                while mask.ndim > image.ndim and mask.shape[-1] == 1:  # of a single slice that is saved as a volume
                    mask = mask[..., 0]
                check_way_up(_grid("The mask", mask), _grid("its image", image))
            if image is not None and image.shape[1:] != mask.shape[1:]:
                raise ValueError(
                    f"The mask {file_of(mask)!r} has the size {tuple(mask.shape[1:])}, its image "
                    f"{file_of(image)!r} has {tuple(image.shape[1:])}: they must be the same."
                )
            # in two dimensions a picture does not say where it lies
            placed = image is not None and (image.ndim > 3 or _is_picture(image) == _is_picture(mask))
            if placed and isinstance(image, MetaTensor) and isinstance(mask, MetaTensor):
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


def _grid(what: str, x: NdarrayOrTensor) -> Grid:
    affine = x.affine.cpu().numpy() if isinstance(x, MetaTensor) and not _is_picture(x) else None
    return Grid(f"{what} {file_of(x)!r}", tuple(x.shape[1:]), affine)


def _is_picture(x: NdarrayOrTensor) -> bool:
    """Whether it was read from a picture: the readers of monai_sscm.io say of these alone of which format they are."""
    return isinstance(x, MetaTensor) and "format" in x.meta


def _in_axes_of(mask: NdarrayOrTensor, image: NdarrayOrTensor | None) -> NdarrayOrTensor:
    """A volume's mask that is stored in other axes than the volume, as by another program, in those of the volume."""
    if not isinstance(image, MetaTensor) or not isinstance(mask, MetaTensor) or not mask.ndim == image.ndim == 4:
        return mask
    codes, stored = (nibabel.aff2axcodes(x.affine.cpu().numpy()) for x in (image, mask))
    if codes == stored:
        return mask
    turned: MetaTensor = Orientation("".join(codes), labels=(("L", "R"), ("P", "A"), ("I", "S")))(mask)  # type: ignore[assignment]
    return turned


class HideUnlabeledd(MapTransform):
    """
    Dictionary-based version of :py:class:`monai_sscm.transforms.HideUnlabeled`, to come right behind
    :py:class:`monai_sscm.transforms.MaskToIndexd`, before anything turns or crops the mask.

    What is hidden stands in the item of the data list, as ``labeled_slices`` and ``unlabeled_classes``, and is taken
    out of it here: items with and without them then fit into one batch. Other items stay as they are.

    Args:
        keys: masks.
        num_classes: number of classes with the background.
        slices_key, classes_key: where the item says which slices are labelled, and which classes are not.
        allow_missing_keys: whether to pass over masks that are not there, as of unlabelled images.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import HideUnlabeledd
        >>> item = {"label": torch.tensor([[[0, 1]]]), "unlabeled_classes": [2]}
        >>> HideUnlabeledd("label", num_classes=3)(item)
        {'label': tensor([[[255,   1]]])}
    """

    backend = HideUnlabeled.backend

    def __init__(
        self,
        keys: KeysCollection,
        num_classes: int,
        slices_key: str = "labeled_slices",
        classes_key: str = "unlabeled_classes",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.slices_key = slices_key
        self.classes_key = classes_key
        self.hide = HideUnlabeled(num_classes)

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        d = dict(data)
        slices, classes = d.pop(self.slices_key, None), d.pop(self.classes_key, None)
        for key in self.key_iterator(d):
            d[key] = self.hide(d[key], slices, classes)  # type: ignore[arg-type]
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


HideUnlabeledD = HideUnlabeledDict = HideUnlabeledd
KeepClassSharesD = KeepClassSharesDict = KeepClassSharesd
MaskToIndexD = MaskToIndexDict = MaskToIndexd
