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

"""Files of every mode, depth and format that the readers take, with what is stored in them."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import SimpleITK as sitk
from monai.transforms import LoadImage
from PIL import Image, ImageCms

from monai_sscm.errors import root_cause
from monai_sscm.io import PictureReader, VolumeReader
from tests.helpers.tiff import write_png, write_tiff

HEIGHT, WIDTH, DEPTH = 17, 23, 5
_DEEP = "16 bits in a pixel: save it"


@dataclass(frozen=True)
class Kind:
    """
    A kind of file.

    Args:
        format: of the file, such as ``"PNG"``.
        mode: what a pixel is.
        depth: bits of a value, and of which kind.
        suffix: the file's.
        write: writes one; what it returns is what an image and a mask of it hold: an array, or a pattern of the
            sentence that refuses it.
        tolerance: by which an image's values may differ, where the format or the colors' kind is not exact.
    """

    format: str
    mode: str
    depth: str
    suffix: str
    write: Callable[[Path], tuple[Any, Any]]
    tolerance: float = 0

    def __str__(self) -> str:
        return f"{self.format}-{self.mode}-{self.depth}".replace(" ", "_")


def outcome(kind: Kind, path: Path, mask: bool) -> np.ndarray | str:
    """The values that a reader gives, or the sentence by which it refuses the file."""
    volume = kind.format.startswith(("NIfTI", "MHA", "MHD", "NRRD"))
    reader = VolumeReader(mask=mask) if volume else PictureReader("indices" if mask else "colors")
    try:
        loaded = np.asarray(LoadImage(reader=reader, dtype=None, ensure_channel_first=False)(path))
    except Exception as e:  # a reader may refuse by any
        return str(root_cause(e))
    return loaded.astype(np.float64)


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _gray(high: int, dtype: str = "u2", low: int = 0, shape: tuple[int, ...] = (HEIGHT, WIDTH)) -> np.ndarray:
    array = _rng().integers(low, high + 1, shape).astype(dtype)
    array.flat[:2] = low, high
    return array


def _both(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return array, array


def _png(bits: int, color: int, interlaced: bool = False) -> Callable[[Path], Any]:
    def write(path: Path) -> Any:
        channels = {0: (), 2: (3,), 4: (2,), 6: (4,)}[color]
        array = _gray(2**bits - 1, shape=(HEIGHT, WIDTH, *channels))
        if color in (4, 6):
            array[..., -1] = 2**bits - 1
        write_png(path, array, bits, color, interlaced)
        if (bits, color) == (16, 4):
            return _DEEP, _DEEP
        return _both(array[..., 0] if color == 4 else array[..., :3] if color == 6 else array)

    return write


def _drawn(mode: str, color: int = 255, suffix: str = "") -> Callable[[Path], Any]:
    """A mask that is drawn in the alpha channel."""

    def write(path: Path) -> Any:
        alpha = np.where(_gray(1) == 1, 255, 0).astype(np.uint8)
        channels = [np.full_like(alpha, color)] * (1 if mode == "LA" else 3)
        Image.fromarray(np.stack([*channels, alpha], -1)).save(
            path, **({"lossless": True, "exact": True} if suffix else {})
        )
        return "only its alpha channel differs", alpha

    return write


def _two_masks(path: Path) -> Any:
    colors = np.stack([_gray(255, "u1")] * 3, -1)
    Image.fromarray(np.concatenate([colors, _gray(255, "u1", shape=(HEIGHT, WIDTH, 1))[::-1]], -1)).save(path)
    return colors, "not clear which of them counts"


def _transparent_background(path: Path) -> Any:
    values = _gray(2, "u1")
    colors = np.stack([values] * 3, -1)
    Image.fromarray(np.dstack([colors, np.where(values > 0, 255, 0).astype(np.uint8)])).save(path)
    return _both(colors)


def _palette(colors: list[int], transparency: Any = None, gray: bool = False, bits: int = 8) -> Callable[[Path], Any]:
    def write(path: Path) -> Any:
        indices = _gray(len(colors) // 3 - 1, "u1")
        image = Image.fromarray(indices, mode="P")
        image.putpalette(colors)
        options = {} if transparency is None else {"transparency": transparency}
        image.save(path, **options, **({"bits": bits} if bits < 8 else {}))
        shown = np.array(colors).reshape(-1, 3)[indices]
        return (shown[..., 0] if (shown == shown[..., :1]).all() else shown), shown[..., 0] if gray else indices

    return write


def _saved(mode: str, **options: Any) -> Callable[[Path], Any]:
    """By Pillow, from values of the mode's own."""

    def write(path: Path) -> Any:
        array: np.ndarray
        if mode == "1":
            array = _gray(1).astype(bool)
        elif mode == "I;16":
            array = _gray(65535)
        elif mode == "I":
            array = _gray(2**31 - 1, "i4", -(2**31))
        elif mode == "F":
            array = (_gray(1000, "i4", -1000) / 7).astype(np.float32)
        else:
            array = _gray(255, "u1", shape=(HEIGHT, WIDTH, *{"L": (), "RGB": (3,), "CMYK": (4,)}[mode]))
        if options.get("smooth"):
            x, y = np.arange(WIDTH), np.arange(HEIGHT)
            array = (np.add.outer(y, x) * 6).astype(np.uint8)
            array = array if mode == "L" else np.stack([array] * (4 if mode == "CMYK" else 3), -1)
        image = Image.fromarray(array, mode="CMYK") if mode == "CMYK" else Image.fromarray(array)
        image.save(path, **{k: v for k, v in options.items() if k != "smooth"})
        if mode == "CMYK":
            ink = array.astype(np.float64)
            return _both((255 - ink[..., :3]) * (255 - ink[..., 3:]) / 255)
        return _both(array)

    return write


def _tiff(
    array: Callable[[], np.ndarray], image: Any = None, mask: Any = None, **options: Any
) -> Callable[[Path], Any]:
    def write(path: Path) -> Any:
        values = array()
        write_tiff(path, values, **options)
        return values if image is None else image, values if mask is None else mask

    return write


def _color(high: int = 255, dtype: str = "u1", channels: int = 3) -> Callable[[], np.ndarray]:
    return lambda: _gray(high, dtype, shape=(HEIGHT, WIDTH, channels))


def _of(high: int, dtype: str, low: int = 0) -> Callable[[], np.ndarray]:
    return lambda: _gray(high, dtype, low)


def _white_is_zero(path: Path) -> Any:
    values = _gray(255, "u1")
    write_tiff(path, values, photometric=0)
    return 255 - values, "lowest value as white"


def _lab(path: Path) -> Any:
    colors = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    colors[:8] = 200, 120, 60
    lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    done = ImageCms.applyTransform(Image.fromarray(colors), lab)
    assert done is not None
    done.save(path)
    return colors, "mask in LAB colors"


def _pnm(kind: bytes, high: int) -> Callable[[Path], Any]:
    def write(path: Path) -> Any:
        array = _gray(high, shape=(HEIGHT, WIDTH, 3) if kind in (b"P3", b"P6") else (HEIGHT, WIDTH))
        size = b"%s\n%d %d\n" % (kind, WIDTH, HEIGHT) + (b"" if kind in (b"P1", b"P4") else b"%d\n" % high)
        if kind in (b"P1", b"P2", b"P3"):
            data = " ".join(map(str, array.ravel())).encode() + b"\n"
        elif kind == b"P4":
            data = np.packbits(array.astype(np.uint8), axis=1).tobytes()
        else:
            data = array.astype(np.uint8 if high < 256 else ">u2").tobytes()
        path.write_bytes(size + data)
        if kind == b"P6" and high > 255:
            return _DEEP, _DEEP
        return _both(1 - array if kind in (b"P1", b"P4") else array)  # in PBM 1 is black

    return write


def _bmp_rle(path: Path) -> Any:
    indices = np.repeat(_gray(2, "u1", shape=(HEIGHT, 1)), WIDTH, axis=1)
    rows = b"".join(bytes([WIDTH, int(row[0]), 0, 0]) for row in indices[::-1]) + b"\0\1"
    palette = b"\0\0\0\0\xff\0\0\0\0\0\xff\0"
    start = 14 + 40 + len(palette)
    header = b"BM" + (start + len(rows)).to_bytes(4, "little") + bytes(4) + start.to_bytes(4, "little")
    info = [(40, 4), (WIDTH, 4), (HEIGHT, 4), (1, 2), (8, 2), (1, 4), (len(rows), 4), (0, 4), (0, 4), (3, 4), (0, 4)]
    path.write_bytes(header + b"".join(n.to_bytes(size, "little") for n, size in info) + palette + rows)
    return np.array([[0, 0, 0], [0, 0, 255], [255, 0, 0]])[indices], indices


def _turned(path: Path) -> Any:
    values = _gray(255, "u1")
    exif = Image.Exif()
    exif[274] = 6  # to be turned by a quarter clockwise
    Image.fromarray(values).save(path, exif=exif)
    return _both(np.rot90(values, -1))


def _nifti(dtype: str, version: int = 1, slope: float | None = None, name: str = "") -> Callable[[Path], Any]:
    def write(path: Path) -> Any:
        if np.dtype(dtype).kind == "f":
            values = (_gray(999, "i4", -999, (WIDTH, HEIGHT, DEPTH)) / 8).astype(dtype)
        elif np.dtype(dtype).kind == "c":
            values = np.ones((WIDTH, HEIGHT, DEPTH), dtype)
        else:
            info = np.iinfo(dtype)
            # as a double, and as what single precision keeps
            high = min(info.max, 2**24)
            values = _gray(high, dtype, max(info.min, -(2**24)), (WIDTH, HEIGHT, DEPTH))
        kind = nibabel.Nifti2Image if version == 2 else nibabel.Nifti1Image
        image = kind(values, np.diag([-1, -1, 3, 1]), dtype=np.dtype(dtype))
        if slope:
            image.header.set_slope_inter(slope, 5)
            nibabel.save(image, path)
            return _both(values.astype(np.float64) * slope + 5)
        nibabel.save(image, path)
        refused = "2 values in a voxel"
        return (refused, refused) if values.dtype.kind == "c" else _both(values)

    return write


def _itk(pixel: int, dtype: str, compressed: bool = True) -> Callable[[Path], Any]:
    def write(path: Path) -> Any:
        info = None if np.dtype(dtype).kind == "f" else np.iinfo(dtype)
        low, high = (-999, 999) if info is None else (max(info.min, -(2**24)), min(info.max, 2**24))
        values = _gray(high, dtype, low, (WIDTH, HEIGHT, DEPTH))
        image = sitk.GetImageFromArray(values.transpose())
        assert image.GetPixelID() == pixel
        sitk.WriteImage(image, str(path), compressed)
        return _both(values)

    return write


def _mha_text(path: Path) -> Any:
    values = _gray(99, "i2", -99, (WIDTH, HEIGHT, DEPTH))
    lines = ["ObjectType = Image", "NDims = 3", "BinaryData = False", f"DimSize = {WIDTH} {HEIGHT} {DEPTH}"]
    lines += ["ElementSpacing = 1 1 2", "ElementType = MET_SHORT", "ElementDataFile = LOCAL"]
    path.write_text("\n".join(lines) + "\n" + " ".join(map(str, values.ravel(order="F"))) + "\n")
    return _both(values)


def _mha_big_endian(path: Path) -> Any:
    values = _gray(9999, "i2", -9999, (WIDTH, HEIGHT, DEPTH))
    lines = ["ObjectType = Image", "NDims = 3", "BinaryData = True", "BinaryDataByteOrderMSB = True"]
    lines += [f"DimSize = {WIDTH} {HEIGHT} {DEPTH}", "ElementSpacing = 1 1 2", "ElementType = MET_SHORT"]
    path.write_bytes(
        ("\n".join([*lines, "ElementDataFile = LOCAL"]) + "\n").encode() + values.astype(">i2").tobytes("F")
    )
    return _both(values)


def _nrrd(dtype: str, encoding: str, detached: bool = False) -> Callable[[Path], Any]:
    def write(path: Path) -> Any:
        values = _gray(99, dtype, -99 if dtype.lstrip("<>")[0] != "u" else 0, (WIDTH, HEIGHT, DEPTH))
        header: dict[str, Any] = {"encoding": encoding, "spacings": [1.0, 1.0, 2.0]}
        if detached:
            names = {"raw": "raw", "gzip": "gz"}
            data = path.with_suffix(f".{names[encoding]}")
            raw = values.tobytes("F")
            data.write_bytes(gzip.compress(raw) if encoding == "gzip" else raw)
            fields = ["NRRD0004", "type: short", "dimension: 3", f"sizes: {WIDTH} {HEIGHT} {DEPTH}", "spacings: 1 1 2"]
            path.write_text(
                "\n".join([*fields, "endian: little", f"encoding: {encoding}", f"data file: {data.name}"]) + "\n\n"
            )
        else:
            nrrd.write(str(path), values, header)
        return ("bzip2", "bzip2") if encoding == "bzip2" else _both(values)

    return write


def _tiff_pages(path: Path) -> Any:
    pages = [Image.fromarray(_gray(255, "u1")) for _ in range(2)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    return "2 pictures in it", "2 pictures in it"


_JPEG = {"quality": 95, "smooth": True}
_CHANNEL = "channel that is neither a color nor opacity"
_WHITE, _PIXELS = "lowest value as white", "kind of pixels that is not read"
_COLORS = [0, 0, 0, 255, 0, 0, 0, 0, 255]

KINDS: list[Kind] = [
    *(Kind("PNG", "gray", f"{b} bit", "png", _png(b, 0)) for b in (2, 4, 8, 16)),
    Kind("PNG", "gray", "1 bit", "png", _saved("1")),
    *(Kind("PNG interlaced", "gray", f"{b} bit", "png", _png(b, 0, True)) for b in (2, 4, 8, 16)),
    *(Kind("PNG", "color", f"{b} bit", "png", _png(b, 2)) for b in (8, 16)),
    Kind("PNG interlaced", "color", "8 bit", "png", _png(8, 2, True)),
    *(Kind("PNG", "gray, opaque alpha", f"{b} bit", "png", _png(b, 4)) for b in (8, 16)),
    *(Kind("PNG", "color, opaque alpha", f"{b} bit", "png", _png(b, 6)) for b in (8, 16)),
    Kind("PNG", "mask in alpha, white", "8 bit", "png", _drawn("RGBA")),
    Kind("PNG", "mask in alpha, black", "8 bit", "png", _drawn("RGBA", 0)),
    Kind("PNG", "mask in alpha, gray", "8 bit", "png", _drawn("LA", 128)),
    Kind("TIFF", "mask in alpha, white", "8 bit", "tif", _drawn("RGBA")),
    Kind("TIFF", "mask in alpha, gray", "8 bit", "tif", _drawn("LA")),
    Kind("WebP", "mask in alpha, white", "8 bit", "webp", _drawn("RGBA", suffix="webp")),
    Kind("PNG", "colors and alpha differ", "8 bit", "png", _two_masks),
    Kind("PNG", "transparent background", "8 bit", "png", _transparent_background),
    Kind("PNG", "palette", "8 bit", "png", _palette(_COLORS)),
    Kind("PNG", "palette", "2 bit", "png", _palette(_COLORS, bits=2)),
    Kind("PNG", "palette, one transparent", "8 bit", "png", _palette(_COLORS, 0)),
    Kind("PNG", "palette, each with its alpha", "8 bit", "png", _palette(_COLORS, bytes([0, 90, 255]))),
    Kind("PNG", "palette of black and white", "8 bit", "png", _palette([0] * 3 + [255] * 3)),
    Kind("PNG", "palette of white and black", "8 bit", "png", _palette([255] * 3 + [0] * 3, gray=True)),
    Kind("PNG", "palette of grays", "8 bit", "png", _palette([0] * 3 + [90] * 3 + [200] * 3)),
    Kind("PNG", "gray, turned by Exif", "8 bit", "png", _turned),
    Kind("JPEG", "gray", "8 bit", "jpg", _saved("L", **_JPEG), 4),
    Kind("JPEG", "color", "8 bit", "jpg", _saved("RGB", **_JPEG), 6),
    Kind("JPEG", "CMYK", "8 bit", "jpg", _saved("CMYK", **_JPEG), 12),
    Kind("JPEG progressive", "gray", "8 bit", "jpg", _saved("L", progressive=True, **_JPEG), 4),
    Kind("JPEG progressive", "color", "8 bit", "jpeg", _saved("RGB", progressive=True, **_JPEG), 6),
    Kind("BMP", "gray", "1 bit", "bmp", _saved("1")),
    Kind("BMP", "gray", "8 bit", "bmp", _saved("L")),
    Kind("BMP", "color", "8 bit", "bmp", _saved("RGB")),
    Kind("BMP", "palette", "8 bit", "bmp", _palette(_COLORS)),
    Kind("BMP run-length", "palette", "8 bit", "bmp", _bmp_rle),
    Kind("GIF", "palette", "8 bit", "gif", _palette(_COLORS)),
    Kind("GIF", "palette of white and black", "8 bit", "gif", _palette([255] * 3 + [0] * 3, gray=True)),
    Kind("WebP", "color", "8 bit", "webp", _saved("RGB", lossless=True)),
    *(Kind("PBM", "gray", "1 bit" + t, "pbm", _pnm(k, 1)) for k, t in ((b"P1", ", text"), (b"P4", ""))),
    *(
        Kind("PGM", "gray", f"to {h}{t}", "pgm", _pnm(k, h))
        for k, t in ((b"P2", ", text"), (b"P5", ""))
        for h in (3, 255, 4095, 65535)
    ),
    *(Kind("PPM", "color", f"to {h}", "ppm", _pnm(b"P6", h)) for h in (3, 255, 65535)),
    Kind("TIFF", "gray", "1 bit", "tif", _saved("1")),
    *(Kind("TIFF", "gray", f"{b} bit", "tif", _tiff(_of(2**b - 1, "u1"), bits=b)) for b in (2, 4)),
    *(
        Kind(f"TIFF, {'big' if o == '>' else 'little'}-endian", "gray", d, "tif", _tiff(_of(h, d, low), m, m, order=o))
        for o in "<>"
        for d, h, low, m in (
            ("u1", 255, 0, None),
            ("i1", 127, -128, None),
            ("u2", 65535, 0, None),
            ("i2", 32767, -32768, None),
            ("u4", 2**32 - 1, 0, _PIXELS if o == ">" else None),
            ("i4", 2**31 - 1, -(2**31), None),
            ("f4", 999, -999, None),
            ("f8", 999, -999, _PIXELS),
        )
    ),
    Kind("TIFF", "gray", "12 bit", "tif", _tiff(_of(4095, "u2"), bits=12)),
    Kind("TIFF, white is zero", "gray", "8 bit", "tif", _white_is_zero),
    Kind("TIFF, white is zero", "gray", "16 bit", "tif", _tiff(_of(65535, "u2"), _WHITE, _WHITE, photometric=0)),
    Kind("TIFF", "color", "8 bit", "tif", _tiff(_color())),
    Kind("TIFF, big-endian", "color", "16 bit", "tif", _tiff(_color(65535, "u2"), order=">")),
    Kind("TIFF", "color", "16 bit", "tiff", _tiff(_color(65535, "u2"))),
    Kind(
        "TIFF",
        "color and an unknown channel",
        "8 bit",
        "tif",
        _tiff(_color(channels=4), _CHANNEL, _CHANNEL, extra=(0,)),
    ),
    Kind(
        "TIFF", "gray and an unknown channel", "8 bit", "tif", _tiff(_color(channels=2), _CHANNEL, _CHANNEL, extra=(0,))
    ),
    Kind("TIFF", "five channels", "8 bit", "tif", _tiff(_color(channels=5), _PIXELS, _PIXELS)),
    Kind("TIFF", "palette", "8 bit", "tif", _palette(_COLORS)),
    Kind("TIFF", "CMYK", "8 bit", "tif", _saved("CMYK"), 1),
    Kind("TIFF", "LAB", "8 bit", "tif", _lab, 4),
    Kind("TIFF", "several pages", "8 bit", "tif", _tiff_pages),
    Kind("TIFF LZW", "gray", "8 bit", "tif", _saved("L", compression="tiff_lzw")),
    Kind("TIFF LZW", "gray", "16 bit", "tif", _saved("I;16", compression="tiff_lzw")),
    Kind("TIFF LZW", "gray", "float", "tif", _saved("F", compression="tiff_lzw")),
    Kind("TIFF packbits", "color", "8 bit", "tif", _saved("RGB", compression="packbits")),
    Kind("TIFF fax", "gray", "1 bit", "tif", _saved("1", compression="group4")),
    Kind("TIFF JPEG", "color", "8 bit", "tif", _saved("RGB", compression="jpeg", **_JPEG), 6),
    *(
        Kind(
            f"TIFF {n}",
            c,
            f"{b} bit",
            "tif",
            # which ITK would read with 8 bits
            _tiff(
                *(
                    (_color(h, d), *[_DEEP if "tile" in options and b > 8 else None] * 2)
                    if c == "color"
                    else [_of(h, d)]
                ),
                **options,
            ),
        )
        for n, options in {
            "deflate": {"deflate": True},
            "strips": {"rows": 4},
            "strips deflate": {"rows": 4, "deflate": True},
            "tiles": {"tile": 16},
            "tiles deflate": {"tile": 16, "deflate": True},
            "BigTIFF": {"big": True},
            "BigTIFF tiles": {"big": True, "tile": 16},
        }.items()
        for c in ("gray", "color")
        for b, h, d in ((8, 255, "u1"), (16, 65535, "u2"))
    ),
    *(
        Kind(
            f"TIFF planes {n}".strip(),
            "color",
            f"{b} bit",
            "tif",
            _tiff(_color(h, d), *[_DEEP if b > 8 else None] * 2, planar=True, **options),
        )
        for n, options in {"": {}, "deflate": {"deflate": True}, "tiles": {"tile": 16}}.items()
        for b, h, d in ((8, 255, "u1"), (16, 65535, "u2"))
    ),
    *(
        Kind(f"NIfTI-{v} {s}", "volume", d, s, _nifti(d, v))
        for v in (1, 2)
        for s in ("nii", "nii.gz")
        for d in ("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8", ">i2", ">f4")
    ),
    *(Kind("NIfTI-1 nii.gz", "volume", d, "nii.gz", _nifti(d)) for d in ("i8", "u8", "c8")),
    Kind("NIfTI-1 nii.gz", "volume, with a slope", "i2", "nii.gz", _nifti("i2", slope=2.0)),
    *(
        Kind(f"{f}{' compressed' if c else ''}", "volume", d, f.lower(), _itk(p, d, c))
        for f in ("MHA", "MHD", "NRRD")
        for c in (False, True)
        for p, d in (
            (sitk.sitkUInt8, "u1"),
            (sitk.sitkInt8, "i1"),
            (sitk.sitkUInt16, "u2"),
            (sitk.sitkInt16, "i2"),
            (sitk.sitkUInt32, "u4"),
            (sitk.sitkInt32, "i4"),
            (sitk.sitkFloat32, "f4"),
            (sitk.sitkFloat64, "f8"),
        )
    ),
    Kind("MHA text", "volume", "i2", "mha", _mha_text),
    Kind("MHA big-endian", "volume", "i2", "mha", _mha_big_endian),
    *(
        Kind(f"NRRD {e}", "volume", d, "nrrd", _nrrd(d, e))
        for e in ("raw", "gzip", "ascii")
        for d in ("i2", ">i2", "u1", "f4")
    ),
    Kind("NRRD bzip2", "volume", "i2", "nrrd", _nrrd("i2", "bzip2")),
    *(Kind(f"NRRD {e} detached", "volume", "i2", "nrrd", _nrrd("i2", e, True)) for e in ("raw", "gzip")),
]
