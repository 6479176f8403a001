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


"""Short marks of what is in files, by which a changed file is known although its name and size are as before."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

__all__ = ["content_marks"]

_PIECE = 2**14
_PIECES = 3  # of an image that is longer than these together
_THREADS = 8  # most of the time is spent waiting for a disk, or for a file server
_OF_A_FOLDER = 3  # files of a DICOM series that are looked into


def content_marks(images: Iterable[str], masks: Iterable[str] = ()) -> dict[str, str]:
    """
    Marks of the contents of files; a folder has that of its files.

    Masks, which are small, and are edited, are read to the end. Of images 16 KiB are read at the beginning, in the
    middle and at the end, where PNG and gzip have a checksum of everything; of the files of a folder all sizes count,
    and three are looked into. 100,000 photographs take some seconds, on a slow disk some minutes.

    Args:
        images: paths of images.
        masks: paths of masks.

    Returns:
        a mark for each path, 8 hexadecimal digits; of what is not there an empty text.

    Example:
        >>> import os, tempfile
        >>> from monai_sscm.data.contents import content_marks
        >>> path = os.path.join(tempfile.mkdtemp(), "a.png")
        >>> _ = open(path, "w").write("abc")
        >>> content_marks([path])[path]
        '63906248'
    """
    jobs = [(str(path), False) for path in images] + [(str(path), True) for path in masks]
    jobs = list(dict(jobs).items())
    with ThreadPoolExecutor(_THREADS) as pool:  # by hundreds, as handing one over takes as long as reading it
        marks = pool.map(_marks, (jobs[i : i + 100] for i in range(0, len(jobs), 100)))
        return {path: mark for found in marks for path, mark in found.items()}


def _marks(jobs: Sequence[tuple[str, bool]]) -> dict[str, str]:
    return {path: _mark(path, whole) for path, whole in jobs}


def _mark(path: str, whole: bool) -> str:
    digest = hashlib.blake2b(digest_size=4)
    files = [path]
    if os.path.isdir(path):
        with os.scandir(path) as entries:
            sizes = sorted((entry.name, entry.stat().st_size) for entry in entries if entry.is_file())
        digest.update(repr(sizes).encode(errors="surrogateescape"))
        files = [os.path.join(path, name) for name, _ in sizes]
        files = files if whole else files[:: max(1, len(files) // _OF_A_FOLDER)]
    for file in files:
        try:
            opened = os.open(file, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except FileNotFoundError:
            return ""
        try:
            size = os.fstat(opened).st_size
            starts: Sequence[int] = range(0, size, _PIECE)
            if not whole and len(starts) > _PIECES:
                starts = (0, size // 2, size - _PIECE)
            for start in starts:
                os.lseek(opened, start, os.SEEK_SET)
                digest.update(os.read(opened, _PIECE))
        finally:
            os.close(opened)
    return digest.hexdigest()
