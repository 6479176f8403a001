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

"""The values that a picture's file stores, in every mode and depth; or a sentence that says why not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from PIL import Image, ImageCms, ImageFile, ImageOps, TiffImagePlugin, UnidentifiedImageError

from .dicom import silence_itk

__all__ = ["NotTaken", "read_pixels"]

# larger ones do not fit into memory as a network needs them
_MOST_PIXELS = 10**9
# tags of TIFF
_BITS, _PHOTOMETRIC, _EXTRA_SAMPLES, _SAMPLE_FORMAT, _ORIENTATION = 258, 262, 338, 339, 274
# what 2 and 4 bits are multiplied by where Pillow fills 8
_SPREAD = {"2": 85, "4": 17}
_COLORS = ("CMYK", "YCbCr", "LAB", "HSV")


class NotTaken(ValueError):
    """What is the matter with a picture that is whole, and what to do: the end of a sentence that begins with it."""


def read_pixels(path: Path, mask: bool) -> tuple[np.ndarray, dict[str, Any]]:
    """
    Read a picture upright.

    Args:
        path: the file.
        mask: whether a palette's indices count, and not its colors; and an alpha channel, where it holds the mask.

    Returns:
        array ``(H, W)`` or ``(H, W, 3)`` of the stored values, and the file's format and Pillow's mode of it.

    Raises:
        NotTaken: when the file has a kind of values that is not read as it is stored.
    """
    if path.suffix.lower() == ".png":
        with _open(path) as file:
            file.verify()  # the checksums, which reading does not look at to the end
    with _open(path) as file:
        # cameras write a second, smaller picture behind a JPEG
        count = getattr(file, "n_frames", 1)
        if count > 1 and file.format != "MPO":
            raise NotTaken(f"has {count} pictures in it: save the one that counts alone")
        about = {"format": file.format, "mode": file.mode}
        array = _deep_color(file, path) if _is_deep_color(file) else _values(file, mask)
    if array.shape[-1] in (2, 4) and array.ndim == 3:
        array = _without_alpha(array[..., :-1], array[..., -1], mask)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    return array, about


@contextmanager
def _open(path: Path) -> Iterator[ImageFile.ImageFile]:
    """Open a file of any size, where Pillow takes large ones for an attack."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        try:
            file = Image.open(path)
        except UnidentifiedImageError as e:
            raise _unknown_kind(path) or e from None
        with file:
            if file.width * file.height > _MOST_PIXELS:
                raise NotTaken(
                    f"has {file.width} x {file.height} pixels, more than a thousand million: cut it into parts"
                )
            yield file
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _unknown_kind(path: Path) -> NotTaken | None:
    """What to say of a whole TIFF that Pillow does not take for one."""
    with open(path, "rb") as content:
        if content.read(2) not in (b"II", b"MM"):
            return None
    try:
        TiffImagePlugin.TiffImageFile(path)
    except SyntaxError as e:
        if "unknown" in str(e):
            return NotTaken("has a kind of pixels that is not read: save it with 1, 8 or 16 bits, gray or in color")
    except Exception:  # a damaged file can fail in any way
        return None
    return None


def _rawmode(file: ImageFile.ImageFile) -> str:
    """How the pixels are stored, as Pillow calls it."""
    args = file.tile[0][3] if file.tile else ""
    return str(args[0] if isinstance(args, tuple) else args)


def _highest(file: ImageFile.ImageFile) -> int | None:
    """The highest value that a PGM or PPM says it can have."""
    args = file.tile[0][3] if file.format == "PPM" and file.tile else None
    return int(args[1]) if isinstance(args, tuple) and len(args) == 2 and isinstance(args[1], int) else None


def _tag(file: ImageFile.ImageFile, tag: int, default: Any) -> Any:
    return file.tag_v2.get(tag, default) if isinstance(file, TiffImagePlugin.TiffImageFile) else default


def _is_deep_color(file: ImageFile.ImageFile) -> bool:
    """Whether there are several values in a pixel of more than 8 bits, of which Pillow drops the lower ones."""
    if file.format == "PPM":
        return file.mode == "RGB" and (_highest(file) or 255) > 255
    bits = _tag(file, _BITS, (8,))
    if len(bits) > 1 and max(bits) > 8:
        return True
    return ";16" in _rawmode(file) and file.mode not in ("I", "F", "L", "1") and not file.mode.startswith("I;")


def _deep_color(file: ImageFile.ImageFile, path: Path) -> np.ndarray:
    """A picture of 16 bits in each of red, green and blue."""
    if file.getexif().get(_ORIENTATION, 1) not in (0, 1):
        raise NotTaken("has colors of 16 bits and is stored turned: save it upright")
    _refuse_other_channels(file)
    if file.format in ("PNG", "TIFF") and file.mode in ("RGB", "RGBA") and "LA" not in _rawmode(file):
        try:
            with silence_itk():
                array = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        except RuntimeError:
            array = np.empty(0)
        channels = len(file.getbands())
        if array.dtype == np.uint16 and array.shape == (file.height, file.width, channels):
            return array
    raise NotTaken("has several values of 16 bits in a pixel: save it gray with 16 bits, in color with 8, or as PNG")


def _refuse_other_channels(file: ImageFile.ImageFile) -> None:
    """Refuse channels of which the file does not say what they are: Pillow drops them."""
    if 0 in (_tag(file, _EXTRA_SAMPLES, ()) or ()):
        raise NotTaken("has a channel that is neither a color nor opacity: save it without")


def _values(file: ImageFile.ImageFile, mask: bool) -> np.ndarray:
    """The values, with an alpha channel behind them if there is one."""
    rawmode, highest, signed = _rawmode(file), _highest(file), 2 in (_tag(file, _SAMPLE_FORMAT, ()) or ())
    _refuse_other_channels(file)
    if _tag(file, _PHOTOMETRIC, 1) == 0 and (mask or file.mode != "L") and file.mode != "1":
        raise NotTaken("is stored with the lowest value as white: save it with the lowest as black")
    if "LAB" in file.mode and mask:
        raise NotTaken("is a mask in LAB colors: save it with one channel")
    image = ImageOps.exif_transpose(file)
    palette = image.getpalette("RGB") if image.mode in ("P", "PA") else None
    if palette is not None:
        return _of_palette(image, np.array(palette).reshape(-1, 3), mask, is_gif=file.format == "GIF")
    if image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    elif image.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
        assert converted is not None
        image = converted
    elif image.mode in _COLORS:
        image = image.convert("RGB")
    array = np.array(image)
    spread = re.match(r"L;([24])", rawmode)
    if spread:
        array //= _SPREAD[spread[1]]
    elif rawmode == "I;32N" and file.format == "TIFF":
        array = array.view(np.uint32)
    elif signed and array.dtype == np.uint8:
        array = array.view(np.int8)
    elif highest is not None and highest not in (255, 65535):  # a PGM, whose values Pillow spreads
        array = np.round(array / (255 if highest < 255 else 65535) * highest).astype(np.uint16)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _of_palette(image: Image.Image, palette: np.ndarray, mask: bool, is_gif: bool) -> np.ndarray:
    """The indices of a picture with a palette, or its colors."""
    indices = np.array(image.getchannel(0) if image.mode == "PA" else image)
    used = np.unique(indices)
    is_gray = bool(used.max(initial=0) < len(palette)) and bool((palette[used] == palette[used, :1]).all())
    if not mask and not is_gray:
        return np.array(image.convert("RGBA").convert("RGB"))
    # programs that make files small put the color of the first pixel first: white, black is no mask of two classes
    white_first = (palette[:1] == 255).all() and (palette[1:2] == 0).all() and used.max(initial=0) < 2
    if not mask or (is_gray and (is_gif or white_first)):
        gray = palette[:, 0].astype(np.uint8)[indices]
        transparent = image.info.get("transparency")
        if mask and is_gif and isinstance(transparent, int):
            return np.stack([gray, np.where(indices == transparent, 0, 255).astype(np.uint8)], axis=-1)
        return gray
    return indices


def _without_alpha(colors: np.ndarray, alpha: np.ndarray, mask: bool) -> np.ndarray:
    """Colors; of a mask that is drawn in the alpha channel, this channel."""
    is_flat = bool((colors == colors[:1, :1]).all())
    if alpha.min() == alpha.max():
        return np.zeros_like(alpha) if mask and is_flat and alpha.max() == 0 else colors
    if is_flat:
        if mask:
            return alpha
        raise NotTaken("has one color everywhere, only its alpha channel differs: save what it shows without one")
    if mask and (bool(colors[alpha == 0].any()) or len(np.unique(alpha)) > 2):
        raise NotTaken(
            "is a mask whose colors and alpha channel both differ from pixel to pixel, and it is not clear which of "
            "them counts: save it without an alpha channel"
        )
    return colors
