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

"""Chest CT, as volumes in Hounsfield units or as 8-bit slices, to Hounsfield units of the lungs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.config.type_definitions import NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import Transform
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_tensor
from scipy import ndimage

from ..label.array import file_of

__all__ = ["EXPORT_WINDOW", "LUNG_WINDOW", "TakeSlice", "ToHounsfield", "export_window", "in_lung_box", "lung_box"]

#: Hounsfield units that become 0 and 1 for the network.
LUNG_WINDOW = (-1000.0, 200.0)
#: Hounsfield units of 0 and 255 in 8-bit pictures of an unknown window.
EXPORT_WINDOW = (-1120.0, 210.0)

# Hounsfield units of aerated lung, and of soft tissue with fat
_LUNG, _SOFT_TISSUE = -850.0, 0.0
# Hounsfield units between air and tissue
_AIR = -500.0
# neighbours of a voxel within its axial slice
_IN_PLANE = np.zeros((3, 3, 3), dtype=bool)
_IN_PLANE[:, 1, 1] = _IN_PLANE[1, :, 1] = True


class ToHounsfield(Transform):
    """
    Convert CT to Hounsfield units. CT that is in Hounsfield units stays as it is.

    An image with values below -100 is in Hounsfield units, since air is near -1000. An image of whole numbers from 0
    to 255, some above 20, is an 8-bit export, whose 0 and 255 stand for the Hounsfield units in ``export_window``.
    Everything else is refused, such as masks and normalized intensities.

    Returns:
        image of the same shape and container type; exports as int16, others with their own data type.

    Raises:
        ValueError: when the values are neither.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import ToHounsfield
        >>> ToHounsfield()(torch.tensor([[[0, 255]]]), export_window=(-1000, 200)).tolist()
        [[[-1000, 200]]]
        >>> ToHounsfield()(torch.tensor([[[-1000, 40]]])).tolist()
        [[[-1000, 40]]]
    """

    backend = [TransformBackends.TORCH]

    def __call__(self, image: NdarrayOrTensor, export_window: Sequence[float] | None = None) -> NdarrayOrTensor:
        """
        Args:
            image: channel-first slice or volume.
            export_window: Hounsfield units of 0 and 255, if the image is an export; see :py:func:`export_window`. None:
                :py:data:`EXPORT_WINDOW`.
        """
        x: torch.Tensor = convert_to_tensor(image, track_meta=False)
        lowest, highest = float(x.amin()), float(x.amax())
        if lowest < -100:
            return image
        integral = not x.is_floating_point() or bool((x == x.round()).all())
        if lowest < 0 or not 20 < highest <= 255 or not integral:
            raise ValueError(
                f"The image {file_of(image)!r} has values from {lowest:g} to {highest:g}, which are neither "
                "Hounsfield units, where air is near -1000, nor an 8-bit export: this bundle is for CT alone. Of a CT, "
                "apply the scan's rescale slope and intercept; for another modality, plan a training of its own with "
                "`monai-sscm plan`."
            )
        low, high = (float(v) for v in export_window or EXPORT_WINDOW)
        if not low < high:
            raise ValueError(f"`export_window` must be two Hounsfield units, the lower one first, got {[low, high]}.")
        hounsfield = (low + x.float() / 255 * (high - low)).round()
        out: NdarrayOrTensor = convert_to_dst_type(hounsfield, dst=image, dtype=torch.int16)[0]
        return out


class TakeSlice(Transform):
    """
    Take one slice of a stack, as a stack of one.

    The metadata of a MetaTensor follows: the affine matrix is that of the slice, and ``meta["slice"]`` is its index.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import TakeSlice
        >>> TakeSlice()(torch.rand(1, 8, 8, 100), 7).shape
        torch.Size([1, 8, 8, 1])
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]

    def __call__(self, image: NdarrayOrTensor, index: int) -> NdarrayOrTensor:  # type: ignore[override]
        """
        Args:
            image: ``(C, X, Y, Z)``.
            index: which slice along Z, from 0.

        Raises:
            ValueError: when there is no such slice.
        """
        if not 0 <= index < image.shape[-1]:
            raise ValueError(
                f"{file_of(image)!r} has {image.shape[-1]} slices, there is no slice {index} (from 0) in it."
            )
        piece = image[..., index : index + 1]
        # no view: it would keep the whole stack in memory, and copy it wherever the slice goes
        piece = piece.clone() if isinstance(piece, torch.Tensor) else piece.copy()
        if isinstance(piece, MetaTensor):
            piece.affine[:-1, -1] += index * piece.affine[:-1, -2]
            piece.meta["slice"] = index
        return piece


def export_window(images: Sequence[np.ndarray]) -> tuple[float, float]:
    """
    Estimate the Hounsfield units of 0 and 255 in 8-bit chest slices of one source, such as the slices of a volume.

    Otsu's threshold of the common histogram separates lung from the rest. The median of the darker pixels is taken for
    aerated lung, -850 HU, and that of the brighter ones for soft tissue with fat, 0 HU; the window is the line through
    both.

    Args:
        images: 8-bit slices, cropped to the lungs; a few, evenly spaced in the volume, suffice.

    Returns:
        ``(low, high)``; :py:data:`EXPORT_WINDOW` where the two kinds are less than 20 grey levels apart.

    Example:
        >>> import numpy as np
        >>> from monai_sscm.transforms import export_window
        >>> slice = np.repeat([[30], [200]], 50, axis=1)  # lung and soft tissue
        >>> tuple(round(x) for x in export_window([slice]))
        (-1000, 275)
    """
    counts = np.zeros(256)
    for image in images:
        counts += np.bincount(np.asarray(image).astype(np.uint8).ravel(), minlength=256)
    levels = np.arange(256)
    below = counts.cumsum()
    sums = (counts * levels).cumsum()
    above = below[-1] - below
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    threshold = int(np.nan_to_num(between).argmax())
    dark, bright = counts * (levels <= threshold), counts * (levels > threshold)
    if dark.sum() == 0 or bright.sum() == 0:
        return EXPORT_WINDOW
    lung, soft = (int(np.searchsorted(part.cumsum(), part.sum() / 2)) for part in (dark, bright))
    if soft - lung < 20:
        return EXPORT_WINDOW
    per_level = (_SOFT_TISSUE - _LUNG) / (soft - lung)
    return _LUNG - lung * per_level, _LUNG + (255 - lung) * per_level


def lung_box(scan: np.ndarray, margin: float = 0.02) -> tuple[slice, slice, slice]:
    """
    Find the box around the lungs of a scan.

    Lungs are air, below -500 HU, that does not reach the border of its axial slice. The largest connected piece counts,
    and others of at least a tenth of its size, which leaves out gas in the bowel. A scan whose border is less than half
    air was cropped before and is left whole: its lungs may reach the border.

    Args:
        scan: Hounsfield units ``(X, Y, Z)``, axial slices along the last axis.
        margin: share of the slice's size that is added on every side within a slice.

    Returns:
        a slice for every axis; the whole scan if there are no lungs.

    Example:
        >>> import numpy as np
        >>> from monai_sscm.transforms import lung_box
        >>> scan = np.full((100, 100, 8), -1000)
        >>> scan[10:90, 20:80] = 40
        >>> scan[20:45, 30:70, 2:6] = scan[55:80, 30:70, 2:6] = -850
        >>> lung_box(scan)
        (slice(18, 82, None), slice(28, 72, None), slice(2, 6, None))
    """
    length_x, length_y, length_z = scan.shape
    whole = (slice(0, length_x), slice(0, length_y), slice(0, length_z))
    step = max(1, min(scan.shape[:2]) // 128)  # lungs are large: a coarse grid suffices
    air = scan[::step, ::step] < _AIR
    borders = (air[0], air[-1], air[:, 0], air[:, -1])
    if np.concatenate([border.ravel() for border in borders]).mean() < 0.5:
        return whole
    pieces, count = ndimage.label(air, structure=_IN_PLANE)
    outside = np.zeros(count + 1, dtype=bool)
    for border in (pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]):
        outside[np.unique(border)] = True
    outside[0] = True
    pieces, count = ndimage.label(~outside[pieces])
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    sizes[0] = 0
    # less than a thousandth of the scan is no lung
    if sizes.max() < 0.001 * pieces.size:
        return whole
    lungs = (sizes >= sizes.max() / 10)[pieces]
    box = []
    for axis, size in enumerate(scan.shape):
        occupied = np.flatnonzero(lungs.any(axis=tuple(a for a in range(3) if a != axis)))
        grid, border = (step, round(margin * size)) if axis < 2 else (1, 0)
        box.append(slice(max(0, int(occupied[0]) * grid - border), min(size, (int(occupied[-1]) + 1) * grid + border)))
    return tuple(box)  # type: ignore[return-value]


def in_lung_box(image: NdarrayOrTensor) -> NdarrayOrTensor:
    """
    Mark the voxels inside :py:func:`lung_box`, for MONAI's ``CropForegroundd(select_fn=in_lung_box)``.

    Args:
        image: Hounsfield units ``(1, X, Y, Z)``.

    Returns:
        boolean, of the same shape and container type.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import in_lung_box
        >>> in_lung_box(torch.full((1, 8, 8, 2), -1000)).all()  # no lungs: all of it
        tensor(True)
    """
    x: np.ndarray = convert_to_tensor(image, track_meta=False).cpu().numpy()
    inside = np.zeros(x.shape, dtype=bool)
    inside[(slice(None), *lung_box(x[0]))] = True
    out: NdarrayOrTensor = convert_to_dst_type(inside, dst=image, dtype=bool)[0]
    return out
