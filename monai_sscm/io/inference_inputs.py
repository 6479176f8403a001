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

"""New images to segment: what there is, and going on when one of them cannot be read."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from monai.data import IterableDataset

from monai_sscm.errors import one_line, root_cause

from .dicom import dicom_series
from .files import PICTURE_SUFFIXES, image_suffix, in_natural_order
from .volumes import VolumeReader

__all__ = ["ReadableImages", "inference_datalist"]

#: what can be segmented and written back
_SUFFIXES = (".nii.gz", ".nii", *PICTURE_SUFFIXES)
_VOLUMES_TOO = (*_SUFFIXES, ".mha", ".mhd", ".nrrd")
_RESULTS = ("_seg.nii.gz", ".seg.nrrd")
_logger = logging.getLogger(__name__)


def inference_datalist(
    input: str | Path | Sequence[str | Path] | None, output_dir: str | Path | None = None, scans: bool = False
) -> list[dict[str, Any]]:
    """
    List the images to segment.

    Args:
        input: an image; a folder, of which all images are taken, those in folders within it too, but not in those that
            are links; a list of images; or a text file with the path of an image on every line, relative to the file's
            folder. None: nothing.
        output_dir: folder of the results; what is in it already is not listed. None: not known.
        scans: whether MHA and NRRD volumes and DICOM series are taken too; every series in a folder, in whatever order
            and depth its files lie, is one image. Masks (``_seg.nii.gz``, ``.seg.nrrd``) in a folder are left out.

    Returns:
        ``{"image": path, "name": name}`` for every image, where the name, without suffix, is that of its results; of a
        folder's images it has the folders within. The ``image`` of a DICOM series is the list of its files.

    Raises:
        FileNotFoundError: when ``input`` does not exist, or a folder has no images.
        ValueError: when two images would have results of the same name, or results would lie among the images.

    Example:
        >>> import tempfile
        >>> from monai_sscm.io import inference_datalist
        >>> from PIL import Image
        >>> folder = tempfile.mkdtemp()
        >>> for name in ("a.png", "b.jpg"):
        ...     Image.new("L", (32, 32)).save(f"{folder}/{name}")
        >>> [item["name"] for item in inference_datalist(folder)]
        ['a', 'b']
    """
    if input is None or input == "" or input == []:
        return []
    results = None if output_dir is None else Path(output_dir).resolve()
    suffixes = _VOLUMES_TOO if scans else _SUFFIXES
    root = None
    series: list[tuple[str, list[str]]] = []
    if isinstance(input, (list, tuple)):
        paths = [Path(str(p)) for p in input]
    else:
        path = Path(str(input))  # the command line gives a number where a name looks like one
        if not path.exists():
            raise FileNotFoundError(f"There is no image or folder {str(path)!r}: check `input`.")
        if path.is_dir():
            root = path
            if results == path.resolve():
                raise ValueError(f"The results would lie among the images in {str(path)!r}: set another `output_dir`.")
            files = [p for p in path.rglob("*") if image_suffix(p).lower() in suffixes and not p.name.startswith(".")]
            files = [p for p in files if not p.is_dir() and (results is None or results not in p.resolve().parents)]
            paths = in_natural_order(p for p in files if not (scans and p.name.lower().endswith(_RESULTS)))
            series = list(dicom_series(path).items()) if scans else []
        elif path.suffix.lower() == ".txt":
            paths = [path.parent / line.strip() for line in _lines(path) if line.strip()]
        else:
            paths = [path]
    if scans:
        # in a list, folders stand for the series in them
        for path in paths:
            if path.is_dir():
                series += (dicom_series(path) or {path.name: [str(path)]}).items()
        paths = [path for path in paths if not path.is_dir()]
    if not paths and not series:
        raise FileNotFoundError(
            f"There are no images in {str(input)!r}: set `input` to an image or a folder of images"
            f"{', volumes or DICOM series' if scans else ''}."
        )
    named: list[tuple[str, str | list[str]]] = []
    for path in paths:
        relative = path.relative_to(root) if root else Path(path.name)
        # DICOM files are named by numbers with points between them
        suffix = image_suffix(path) or ("" if path.suffix[1:].isdigit() else path.suffix)
        named.append((str(relative)[: len(str(relative)) - len(suffix)], str(path)))
    items: dict[str, dict[str, Any]] = {}
    for name, image in [*named, *series]:
        if name in items:
            first, second = (x if isinstance(x, str) else str(Path(x[0]).parent) for x in (items[name]["image"], image))
            raise ValueError(
                f"The results of {first!r} and {second!r} would have the same name: rename one, or segment them into "
                "different folders."
            )
        items[name] = {"image": image, "name": name}
    return list(items.values())


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as e:
        raise ValueError(f"The list {str(path)!r} is not in UTF-8: save it so.") from e


class ReadableImages(IterableDataset):
    """
    Data set of images to segment that leaves out those that cannot be read, and says which and why.

    To be loaded in the main process (``num_workers=0``), where :py:meth:`finish` is called at the end.

    Args:
        data: items with ``image``, the path, as :py:func:`inference_datalist` gives them.
        transform: transform that loads them.
        scans: whether they may be MHA or NRRD volumes and DICOM series too.

    Example:
        >>> import logging, os, tempfile
        >>> from monai.transforms import LoadImaged
        >>> from monai_sscm.io import PictureReader, ReadableImages, inference_datalist
        >>> from PIL import Image
        >>> folder = tempfile.mkdtemp()
        >>> Image.new("L", (32, 32)).save(folder + "/a.png")
        >>> with open(folder + "/cut_off.png", "wb") as file:
        ...     _ = file.write(b"this is no picture")
        >>> images = ReadableImages(inference_datalist(folder), LoadImaged("image", reader=PictureReader))
        >>> logging.disable()
        >>> [item["name"] for item in images], [os.path.basename(path) for path in images.unreadable]
        (['a'], ['cut_off.png'])
        >>> logging.disable(logging.NOTSET)
    """

    data: Sequence[dict[str, Any]]
    transform: Callable[[Any], Any]

    def __init__(self, data: Sequence[dict[str, Any]], transform: Callable[[Any], Any], scans: bool = False) -> None:
        super().__init__(data, transform)
        self.scans = scans
        self.unreadable: dict[str, str] = {}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if not self.data:
            raise ValueError("There is nothing to segment: set `input` to an image, a folder or a list of images.")
        self.unreadable = {}
        for item in self.data:
            loaded = []
            try:
                self._check_suffix(item["image"])
                self._check_name(item["name"])
                loaded.append(self.transform(item))
            except Exception as e:  # any reader's and any transform's
                image = item["image"] if isinstance(item["image"], str) else str(Path(item["image"][0]).parent)
                self.unreadable[image] = one_line(root_cause(e), 500)
                _logger.error(f"{image!r} is left out: {self.unreadable[image]}")
                continue
            # kept nowhere here while it is worked on: a volume is large
            yield loaded.pop()

    def finish(self) -> None:
        """
        End the process with status 1 if an image was left out.

        Raises:
            SystemExit: then, with a message that names every one.
        """
        if self.unreadable:
            files = "\n".join(f"  {path}: {why}" for path, why in self.unreadable.items())
            raise SystemExit(f"{len(self.unreadable)} of {len(self.data)} images were left out:\n{files}")

    def _check_suffix(self, image: str | Sequence[str]) -> None:
        if self.scans:
            if not VolumeReader().verify_suffix(image) and Path(str(image)).exists():
                raise ValueError(f"{image!r} is no picture, NIfTI, MHA, NRRD or DICOM image: save it as one of these.")
        elif image_suffix(Path(str(image))).lower() not in _SUFFIXES or Path(str(image)).is_dir():
            raise ValueError(f"{image!r} is no PNG, JPEG, BMP, TIFF or NIfTI image: save it as one of these.")

    @staticmethod
    def _check_name(name: str) -> None:
        """Refuse a name that leaves no room for those of its results, while they are written too."""
        if len(os.fsencode(Path(name).name)) > 255 - len("_overlay.png.part.nii.gz"):
            raise ValueError("its name is too long for those of its results: rename it.")
