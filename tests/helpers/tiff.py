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

"""TIFF and PNG files of kinds that Pillow does not write."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

_SIZES = {"H": 3, "I": 4, "Q": 16}


def write_tiff(
    path: Path,
    array: np.ndarray,
    *,
    order: str = "<",
    bits: int | None = None,
    photometric: int | None = None,
    tile: int | None = None,
    rows: int | None = None,
    planar: bool = False,
    deflate: bool = False,
    big: bool = False,
    extra: tuple[int, ...] = (),
    orientation: int = 1,
) -> None:
    """
    Write an array ``(H, W)`` or ``(H, W, C)``.

    Args:
        order: ``"<"`` or ``">"``, of the bytes.
        bits: of a sample, where it is fewer than those of the array's type.
        photometric: TIFF's number. None: gray with black as zero, or RGB.
        tile: side of the tiles, a multiple of 16. None: strips.
        rows: of a strip. None: all.
        planar: whether each channel lies for itself.
        deflate: whether to compress.
        big: whether to write BigTIFF.
        extra: what further channels are: 0 nothing known, 1 and 2 opacity.
        orientation: TIFF's number.
    """
    array = array[..., None] if array.ndim == 2 else array
    height, width, channels = array.shape
    planes = [array[..., i : i + 1] for i in range(channels)] if planar else [array]
    chunks = []
    for plane in planes:
        if tile:
            for y in range(0, height, tile):
                for x in range(0, width, tile):
                    block = np.zeros((tile, tile, plane.shape[2]), array.dtype)
                    part = plane[y : y + tile, x : x + tile]
                    block[: part.shape[0], : part.shape[1]] = part
                    chunks.append(block)
        else:
            chunks += [plane[y : y + (rows or height)] for y in range(0, height, rows or height)]
    data = [_pack(chunk, bits, order) for chunk in chunks]
    data = [zlib.compress(chunk) for chunk in data] if deflate else data
    bits = bits or array.dtype.itemsize * 8
    kind = {"u": 1, "i": 2, "f": 3, "b": 1}[array.dtype.kind]
    tags: dict[int, tuple[str, list[int]]] = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [bits] * channels),
        259: ("H", [8 if deflate else 1]),
        262: ("H", [photometric if photometric is not None else (2 if channels - len(extra) == 3 else 1)]),
        274: ("H", [orientation]),
        277: ("H", [channels]),
        284: ("H", [2 if planar else 1]),
        339: ("H", [kind] * channels),
    }
    if extra:
        tags[338] = ("H", list(extra))
    offsets, counts = (324, 325) if tile else (273, 279)
    if tile:
        tags |= {322: ("I", [tile]), 323: ("I", [tile])}
    else:
        tags[278] = ("I", [rows or height])
    long = "Q" if big else "I"
    start = 16 if big else 8
    places = [start + sum(len(x) for x in data[:i]) for i in range(len(data))]
    tags |= {offsets: (long, places), counts: (long, [len(x) for x in data])}
    mark = b"II" if order == "<" else b"MM"
    at = start + sum(len(x) for x in data)
    at += at % 2
    head = mark + (struct.pack(f"{order}HHHQ", 43, 8, 0, at) if big else struct.pack(f"{order}HI", 42, at))
    room, entry = (8, 20) if big else (4, 12)
    table = struct.pack(f"{order}{'Q' if big else 'H'}", len(tags))
    behind = at + len(table) + entry * len(tags) + (8 if big else 4)
    values = b""
    for tag in sorted(tags):
        code, numbers = tags[tag]
        packed = struct.pack(f"{order}{len(numbers)}{code}", *numbers)
        if len(packed) > room:
            place = behind + len(values)
            values += packed + b"\0" * (len(packed) % 2)
            packed = struct.pack(f"{order}{long}", place)
        table += struct.pack(f"{order}HH{long}", tag, _SIZES[code], len(numbers)) + packed.ljust(room, b"\0")
    content = head + b"".join(data)
    path.write_bytes(content.ljust(at, b"\0") + table + bytes(8 if big else 4) + values)


def _pack(array: np.ndarray, bits: int | None, order: str) -> bytes:
    """The samples of a chunk, where they have fewer than 8 bits row by row."""
    if bits is None or bits == array.dtype.itemsize * 8:
        return array.astype(array.dtype.newbyteorder(order)).tobytes()
    samples = array.reshape(len(array), -1).astype(np.uint16)
    unpacked = (samples[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(unpacked.reshape(len(array), -1).astype(np.uint8), axis=1).tobytes()


def write_png(path: Path, array: np.ndarray, bits: int, color: int, interlaced: bool = False) -> None:
    """
    Write an array ``(H, W)`` or ``(H, W, C)``.

    Args:
        bits: of a sample: 1, 2, 4, 8 or 16.
        color: PNG's number: 0 gray, 2 RGB, 4 gray with alpha, 6 RGBA.
        interlaced: whether by Adam's seven passes.
    """
    array = (array[..., None] if array.ndim == 2 else array).astype(np.uint16 if bits == 16 else np.uint8)
    height, width = array.shape[:2]
    passes = [(0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1)]
    raw = b""
    for y, dy, x, dx in passes if interlaced else [(0, 1, 0, 1)]:
        part = array[y::dy, x::dx]
        if part.size:
            raw += b"".join(b"\0" + _pack(row[None], bits, ">") for row in part)
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, int(interlaced))
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b""))
    packed = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
