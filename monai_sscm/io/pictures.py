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

"""Pictures as arrays of rows and columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import PathLike
from monai.data import ImageReader, NibabelReader
from monai.utils import MetaKeys, ensure_tuple

from .files import PICTURE_SUFFIXES
from .pixels import NotTaken, read_pixels

__all__ = ["PictureReader"]


class PictureReader(ImageReader):
    """
    Reads PNG, JPEG, BMP, TIFF, GIF, WebP and PPM as arrays of rows and columns, where MONAI's reader gives columns and
    rows.

    The values are those that are stored, in every depth from 1 to 32 bits and as floating point; 1-bit pictures give
    False and True, for white. A picture that is stored turned, as cameras do, is turned upright; colors of another kind
    (CMYK, LAB, ...) become red, green and blue. An alpha channel is dropped, but where a mask is drawn in it, on one
    color everywhere, it is the mask. A GIF that is all grey, and a palette of white and black in this order, give
    greys. What cannot be read as it is stored is refused, and so is a file with several pictures. NIfTI is read by
    :py:class:`monai.data.NibabelReader`, in its stored axes, and its errors name the file. For
    ``LoadImaged(keys, reader=PictureReader())``. Other files are refused: MONAI's own readers have other axes.

    Args:
        palette: what a palette picture gives: ``"indices"``, which in masks are the classes, or ``"colors"``.

    Example:
        >>> import tempfile, os
        >>> import numpy as np
        >>> from monai.transforms import LoadImage
        >>> from PIL import Image
        >>> path = os.path.join(tempfile.mkdtemp(), "image.png")
        >>> Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(path)
        >>> LoadImage(reader="monai_sscm.io.PictureReader", ensure_channel_first=True)(path).shape
        torch.Size([3, 20, 30])
    """

    def __init__(self, palette: str = "indices") -> None:
        if palette not in ("indices", "colors"):
            raise ValueError(f"`palette` must be 'indices' or 'colors', got {palette!r}.")
        self.palette = palette
        self.nifti = NibabelReader()

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """True: what is no picture is refused by :py:meth:`get_data`, and not left to other readers."""
        return True

    @staticmethod
    def are_pictures(filename: Sequence[PathLike] | PathLike) -> bool:
        """Whether all files have a suffix of a picture."""
        return all(Path(str(name)).suffix.lower() in PICTURE_SUFFIXES for name in ensure_tuple(filename))

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> Any:
        """Name one picture or several; :py:meth:`get_data` opens them, so that its errors reach the user."""
        paths = [Path(str(name)) for name in ensure_tuple(data)]
        return paths if len(paths) > 1 else paths[0]

    def get_data(self, img: PathLike | Sequence[PathLike]) -> tuple[np.ndarray, dict]:
        """
        Read the pictures that :py:meth:`read` named.

        Raises:
            OSError: when one cannot be opened, or is cut off.
            ValueError: when one is neither a picture nor NIfTI, has values that are not read as they are stored, or
                several pictures in it.
        """
        if not self.are_pictures(img):
            if not self.nifti.verify_suffix(img):
                kinds = ", ".join(PICTURE_SUFFIXES)
                raise ValueError(f"{str(img)!r} is no picture: save it as one of {kinds}, or as .nii or .nii.gz.")
            return self._read_nifti(img)
        paths = [Path(path) for path in ensure_tuple(img)]
        read = [self._read_picture(path) for path in paths]
        first, meta = read[0]
        channel = float("nan") if first.ndim == 2 else -1.0
        for path, (array, _) in zip(paths[1:], read[1:], strict=True):
            if array.shape != first.shape or array.ndim > 2:
                raise ValueError(
                    f"{str(path)!r} has the size {array.shape}, {str(paths[0])!r} has {first.shape}: channels of one "
                    "image must be gray, and of one size."
                )
        if len(read) > 1:
            first, channel = np.stack([array for array, _ in read], axis=-1), -1.0
        return first, {
            **meta,
            MetaKeys.SPATIAL_SHAPE: np.asarray(first.shape[:2]),
            MetaKeys.ORIGINAL_CHANNEL_DIM: channel,
        }

    def _read_nifti(self, img: PathLike | Sequence[PathLike]) -> tuple[np.ndarray, dict]:
        try:
            array, meta = self.nifti.get_data(self.nifti.read(img))
        except FileNotFoundError as e:
            raise FileNotFoundError(f"There is no image {str(img)!r}: check its name.") from e
        except Exception as e:  # a damaged file can fail in any way
            raise OSError(f"The image {str(img)!r} cannot be read, replace it with a good copy ({e}).") from e
        if array.dtype.kind not in "biuf":
            raise ValueError(
                f"The image {str(img)!r} has values of the kind {array.dtype}: save it with one number for each pixel."
            )
        return array, meta

    def _read_picture(self, path: Path) -> tuple[np.ndarray, dict[str, Any]]:
        try:
            return read_pixels(path, mask=self.palette == "indices")
        except NotTaken as e:
            raise ValueError(f"The picture {str(path)!r} {e}.") from e
        except FileNotFoundError as e:
            raise FileNotFoundError(f"There is no picture {str(path)!r}: check its name.") from e
        except Exception as e:  # a damaged file can fail in any way
            raise OSError(f"The picture {str(path)!r} cannot be read, replace it with a good copy ({e}).") from e
