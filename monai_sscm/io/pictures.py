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
from monai.data import NibabelReader, PILReader
from monai.utils import ensure_tuple
from PIL import Image, ImageOps

from .files import PICTURE_SUFFIXES

__all__ = ["PictureReader"]

_AS_THEY_ARE = ("1", "L", "I", "I;16", "I;16B", "I;16L", "F", "RGB", "P")


class PictureReader(PILReader):
    """
    Reads PNG, JPEG, BMP and TIFF as arrays of rows and columns, where MONAI's reader gives columns and rows.

    1-bit pictures give 0 and 1; a picture that is stored turned, as cameras do, is turned upright; an alpha channel is
    dropped, and colors of another kind (CMYK, LAB, ...) become red, green and blue. A file with several pictures is
    refused. NIfTI is read by :py:class:`monai.data.NibabelReader`, whose errors are made to name the file. For
    ``LoadImaged(keys, reader=PictureReader())``, which leaves other files to MONAI's own readers.

    Args:
        palette: what a palette picture gives: ``"indices"``, which in masks are the classes, or ``"colors"``.
        kwargs: arguments of :py:class:`monai.data.PILReader`.

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

    def __init__(self, palette: str = "indices", **kwargs: Any) -> None:
        super().__init__(reverse_indexing=False, **kwargs)
        if palette not in ("indices", "colors"):
            raise ValueError(f"`palette` must be 'indices' or 'colors', got {palette!r}.")
        self.palette = palette
        self.nifti = NibabelReader()

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Whether all files have a suffix of a picture, or one of NIfTI."""
        return self.are_pictures(filename) or self.nifti.verify_suffix(filename)

    @staticmethod
    def are_pictures(filename: Sequence[PathLike] | PathLike) -> bool:
        """Whether all files have a suffix of a picture."""
        return all(Path(str(name)).suffix.lower() in PICTURE_SUFFIXES for name in ensure_tuple(filename))

    def read(self, data: Sequence[PathLike] | PathLike | np.ndarray, **kwargs: Any) -> Any:
        """
        Name one picture or several; :py:meth:`get_data` opens them, so that its errors reach the user.

        Raises:
            ValueError: when a file has another suffix, so that MONAI goes on to its other readers.
        """
        if not self.verify_suffix(data):  # type: ignore[arg-type]
            raise ValueError(f"{data} is not a picture: PictureReader reads {', '.join(PICTURE_SUFFIXES)} and NIfTI.")
        paths = [Path(str(name)) for name in ensure_tuple(data)]
        return paths if len(paths) > 1 else paths[0]

    def get_data(self, img: PathLike | Sequence[PathLike]) -> tuple[np.ndarray, dict]:
        """
        Read the pictures that :py:meth:`read` named.

        Raises:
            OSError: when one cannot be opened, is cut off, or has several pictures in it.
        """
        if self.are_pictures(img):
            return super().get_data([self._open(Path(path)) for path in ensure_tuple(img)])
        try:
            return self.nifti.get_data(self.nifti.read(img))
        except FileNotFoundError as e:
            raise FileNotFoundError(f"There is no image {str(img)!r}: check its name.") from e
        except Exception as e:  # a damaged file can fail in any way
            raise OSError(f"The image {str(img)!r} cannot be read, replace it with a good copy ({e}).") from e

    def _open(self, path: Path) -> Image.Image:
        try:
            if path.suffix.lower() == ".png":
                with Image.open(path) as file:
                    file.verify()  # the checksums, which reading does not look at to the end
            with Image.open(path) as file:
                # cameras write a second, smaller picture behind a JPEG
                count = getattr(file, "n_frames", 1)
                if count > 1 and file.format != "MPO":
                    raise ValueError(f"it has {count} pictures in it: save the one that counts alone")
                image = ImageOps.exif_transpose(file)
                if image.mode in ("LA", "La"):
                    image = image.convert("L")
                elif image.mode not in _AS_THEY_ARE or (image.mode == "P" and self.palette == "colors"):
                    image = image.convert("RGB")
                image.load()
                image.format = file.format
                return image
        except FileNotFoundError as e:
            raise FileNotFoundError(f"There is no picture {str(path)!r}: check its name.") from e
        except Exception as e:  # a damaged file can fail in any way
            raise OSError(f"The picture {str(path)!r} cannot be read, replace it with a good copy ({e}).") from e

    def _get_spatial_shape(self, img: Image.Image) -> np.ndarray:
        return np.asarray((img.height, img.width))
