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


"""Whether two files lie on one grid of pixels, the same way up."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from nibabel.orientations import aff2axcodes, apply_orientation, inv_ornt_aff, io_orientation, ornt_transform

__all__ = ["Grid", "check_grids", "check_way_up", "in_axes_of"]

# where a picture's rows and columns lead, if it is taken for a slice: to the patient's left and to the back
_PICTURE_AXES = ("L", "P")


@dataclass(frozen=True)
class Grid:
    """
    The pixels of a file.

    Args:
        name: what the file is called in a sentence.
        size: how many there are along each axis, as stored.
        affine: from them to millimetres, to the right, to the front and up. None: it is a picture, which does not say.
    """

    name: str
    size: tuple[int, ...]
    affine: np.ndarray | None


def check_way_up(mask: Grid, image: Grid) -> None:
    """
    Refuse a picture and a slice in NIfTI or the like, of which one may be transposed, mirrored or turned to the other.

    Pictures are stored by rows, the others by columns or by rows. They are taken where their sizes, which must not be a
    square's, show that both are stored by rows, and where the slice's axes are those of a picture.

    Args:
        mask: a file.
        image: the file that it is to lie on.

    Raises:
        ValueError: then.

    Example:
        >>> import numpy as np
        >>> from monai_sscm.io.grids import Grid, check_way_up
        >>> mask = Grid("the mask 'a.png'", (20, 30), None)
        >>> check_way_up(mask, Grid("'b.nii'", (20, 30), np.diag([-1, -1, 1, 1])))
        >>> check_way_up(mask, Grid("'b.nii'", (30, 20), np.diag([-1, -1, 1, 1])))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: the mask 'a.png' is transposed to 'b.nii', with (20, 30) to (30, 20): pictures are ...
    """
    if (mask.affine is None) == (image.affine is None):
        return
    affine = image.affine if mask.affine is None else mask.affine
    assert affine is not None
    axes = aff2axcodes(affine)[:2]
    size, transposed = image.size, (image.size[1], image.size[0], *image.size[2:])
    if mask.size == transposed:
        what = f"may be transposed to {image.name}, as {size} fits both ways"
        if mask.size != size:
            what = f"is transposed to {image.name}, with {mask.size} to {size}"
    elif mask.size == size and axes != _PICTURE_AXES:
        other = image.name if mask.affine is None else mask.name
        what = (
            f"may lie another way up than {image.name}, as the axes of {other} lead to {' and '.join(axes)}, those "
            f"of a picture to {' and '.join(_PICTURE_AXES)}"
        )
    else:
        return
    raise ValueError(
        f"{mask.name} {what}: pictures are stored by rows, NIfTI and the like by columns or rows, so save both in "
        "one format."
    )


def in_axes_of(array: np.ndarray, affine: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    A volume's voxels in the axes in which another is stored, as far as they run along each other.

    Args:
        array: the voxels ``(X, Y, Z)``.
        affine: where they lie.
        other: where the other's lie.

    Returns:
        the voxels, and where they lie then.

    Example:
        >>> import numpy as np
        >>> from monai_sscm.io.grids import in_axes_of
        >>> array, affine = in_axes_of(np.arange(3).reshape(3, 1, 1), np.diag([-1.0, 1, 1, 1]), np.eye(4))
        >>> array.ravel(), affine[0]
        (array([2, 1, 0]), array([ 1.,  0.,  0., -2.]))
    """
    turn = ornt_transform(io_orientation(affine), io_orientation(other))
    return apply_orientation(array, turn), affine @ inv_ornt_aff(turn, array.shape)


def check_grids(a: Grid, b: Grid) -> None:
    """
    Refuse masks that are not on one grid, or cannot be told to be.

    Args:
        a: a mask.
        b: the true one.

    Raises:
        ValueError: then.

    Example:
        >>> from monai_sscm.io.grids import Grid, check_grids
        >>> check_grids(Grid("the mask 'a.png'", (20, 30), None), Grid("'b.png'", (20, 30), None))
    """
    check_way_up(a, b)
    if a.size != b.size:
        raise ValueError(
            f"{a.name} has the size {a.size} and {b.name} {b.size}: a mask must have the size of the true one."
        )
    if a.affine is None or b.affine is None:
        return
    shape = [*a.size, 1][:3]
    corners = np.array([[*corner, 1] for corner in itertools.product(*((0, n - 1) for n in shape))]).T
    apart = np.linalg.norm(((a.affine - b.affine) @ corners)[:3], axis=0).max()
    voxel = np.linalg.norm(b.affine[:3, :3], axis=0).min()
    if apart > voxel / 2:
        raise ValueError(
            f"{a.name} and {b.name} lie in different places, {apart:.1f} mm apart: a mask must have spacing, "
            "origin and orientation of the true one."
        )
