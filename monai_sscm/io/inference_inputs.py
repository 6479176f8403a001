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

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import nibabel
from monai.data import IterableDataset, MetaTensor
from PIL import Image

from monai_sscm.errors import one_line, root_cause

from .dicom import dicom_series
from .files import (
    CHANNEL_NAME,
    FIELD_FOLDERS,
    LABEL_FOLDERS,
    PICTURE_FORMATS,
    PICTURE_SUFFIXES,
    image_name,
    image_suffix,
    in_natural_order,
    mask_stem,
)
from .volumes import VolumeReader

__all__ = ["ReadableImages", "inference_datalist", "stored_spacing"]

#: what can be segmented and written back
_SUFFIXES = (".nii.gz", ".nii", *PICTURE_SUFFIXES)
_VOLUMES_TOO = (*_SUFFIXES, ".mha", ".mhd", ".nrrd")
_FORMATS = ", ".join(PICTURE_FORMATS)
# beside images, folders of these names and those that begin with "labels" hold masks, or fields of view
_MASK_FOLDERS = (*LABEL_FOLDERS, *FIELD_FOLDERS)
_RESULTS = ("_seg.nii.gz", "_seg.mha", ".seg.nrrd")
_logger = logging.getLogger(__name__)


def inference_datalist(
    input: str | Path | Sequence[str | Path] | None,
    output_dir: str | Path | None = None,
    scans: bool = False,
    channels: int = 1,
) -> list[dict[str, Any]]:
    """
    List the images to segment.

    Args:
        input: an image; a folder, of which all images are taken, those in folders within it too, but not in those that
            are links; a list of images and folders; or a text file with the path of one on every line, relative to the
            file's folder. None: nothing. Masks in a folder are left out, which a line of the log says: what a data set
            has in ``labels/`` beside ``images/``, and ``a_mask.png`` beside ``a.png``.
        output_dir: folder of the results; what is in it already is not listed. None: not known.
        scans: whether MHA and NRRD volumes and DICOM series are taken too; every series in a folder, in whatever order
            and depth its files lie, is one image. ``_seg.nii.gz``, ``_seg.mha`` and ``.seg.nrrd`` in a folder are
            masks.
        channels: how many the network takes, at least 1. Of several, files of one channel each that are named as
            nnU-Net does, ``case_0000.nii.gz``, ``case_0001.nii.gz``, are one image, ``case``.

    Returns:
        ``{"image": path, "name": name}`` for every image, where the name, without suffix, is that of its results; of a
        folder's images it has the folders within, and before them, of one of several inputs, the folder's name. The
        ``image`` of a DICOM series is the list of its files, and so is that of an image in several files.

    Raises:
        FileNotFoundError: when ``input`` does not exist, or a folder has no images.
        ValueError: when two images would have results of the same name, results would lie among the images, or an
            image lacks the file of a channel.

    Example:
        >>> import tempfile
        >>> from monai_sscm.io import inference_datalist
        >>> from PIL import Image
        >>> folder = tempfile.mkdtemp()
        >>> for name in ("a.png", "b.jpg"):
        ...     Image.new("L", (32, 32)).save(f"{folder}/{name}")
        >>> [item["name"] for item in inference_datalist(folder)]
        ['a', 'b']
        >>> for channel in range(2):
        ...     Image.new("L", (32, 32)).save(f"{folder}/c_{channel:04}.png")
        >>> [item["name"] for item in inference_datalist(folder, channels=2)]
        ['a', 'b', 'c']
    """
    if input is None or input == "" or input == []:
        return []
    results = None if output_dir is None else Path(output_dir).resolve()
    series: list[tuple[str, list[str]]] = []
    named: list[tuple[str, str]] = []
    if isinstance(input, (list, tuple)):
        paths = [Path(str(p)) for p in input]
    else:
        path = Path(str(input))  # the command line gives a number where a name looks like one
        if not path.exists():
            raise FileNotFoundError(f"There is no image or folder {str(path)!r}: check `input`.")
        is_list = path.suffix.lower() == ".txt" and not path.is_dir()
        paths = [path.parent / line.strip() for line in _lines(path) if line.strip()] if is_list else [path]
    for path in paths:
        if not path.is_dir():
            named.append((path.name, str(path)))
            continue
        if results == path.resolve():
            raise ValueError(f"The results would lie among the images in {str(path)!r}: set another `output_dir`.")
        files, found = _in_folder(path, results, scans)
        if paths == [path] and not isinstance(input, (list, tuple)):
            named += [(str(file.relative_to(path)), str(file)) for file in files]
        elif files or found:
            named += [(str(Path(path.name) / file.relative_to(path)), str(file)) for file in files]
        else:
            named.append((path.name, str(path)))  # named as left out, later
        series += found.items()
    if not named and not series:
        raise FileNotFoundError(
            f"There are no images in {str(input)!r}: set `input` to an image or a folder of images"
            f"{', volumes or DICOM series' if scans else ''}."
        )
    named = [(name.removesuffix(_name_suffix(name)), image) for name, image in named]
    items: dict[str, dict[str, Any]] = {}
    for name, image in [*(_join_channels(named, channels, scans) if channels > 1 else named), *series]:
        if name in items:
            first, second = _shown(items[name]["image"]), _shown(image)
            raise ValueError(
                f"The results of {first!r} and {second!r} would have the same name: rename one, or segment them into "
                "different folders."
            )
        items[name] = {"image": image, "name": name}
    return list(items.values())


def _in_folder(root: Path, results: Path | None, scans: bool) -> tuple[list[Path], dict[str, list[str]]]:
    """The images of a folder and its DICOM series, without masks."""
    suffixes = _VOLUMES_TOO if scans else _SUFFIXES
    found = [p for p in root.rglob("*") if not p.is_dir() and (results is None or results not in p.resolve().parents)]
    files = [p for p in found if image_suffix(p).lower() in suffixes and not p.name.startswith(".")]
    files = in_natural_order(p for p in files if not (scans and p.name.lower().endswith(_RESULTS)))
    series = dicom_series(root) if scans else {}
    _log_others(root, found, [*files, *(Path(path) for paths in series.values() for path in paths)])
    folders = {root: ""}  # the outermost folder of masks that a folder is in
    names = {(file.parent, image_name(file)) for file in files}
    names |= {(parent, match[1]) for parent, name in names if (match := CHANNEL_NAME.fullmatch(name))}
    images: list[Path] = []
    masks: list[str] = []
    for file in files:
        if folder := _mask_folder(file.parent, folders):
            masks.append(folder)
        elif (file.parent, mask_stem(image_name(file)) or "") in names:
            masks.append(str(file.relative_to(root)))
        else:
            images.append(file)
    for name, paths in list(series.items()):
        if folder := _mask_folder(Path(paths[0]).parent, folders):
            masks += [folder] * len(series.pop(name))
    if masks:
        shown = list(dict.fromkeys(masks))
        more = ", ..." * (len(shown) > 5)
        _logger.warning(
            f"{len(masks)} file{'s' * (len(masks) > 1)} in {str(root)!r} seem{'s' * (len(masks) == 1)} to be masks and "
            f"{'are' if len(masks) > 1 else 'is'} left out: {', '.join(shown[:5])}{more}."
        )
    return images, series


def _log_others(root: Path, found: Sequence[Path], known: Sequence[Path]) -> None:
    """Say in a line which files of a folder are none that can be segmented."""
    taken = set(known)
    others = [path for path in in_natural_order(found) if path not in taken]
    names: dict[str, list[str]] = {}
    for path in others:
        why = "hidden" if path.name.startswith(".") else "masks by their names"
        if why != "hidden" and not path.name.lower().endswith(_RESULTS):
            why = "of a kind that this network does not take" if image_suffix(path) else "no images of a known format"
        names.setdefault(why, []).append(path.name)
    if names:
        parts = (f"{len(n)} {why} ({', '.join(n[:3])}{', ...' * (len(n) > 3)})" for why, n in names.items())
        _logger.info(f"Not segmented in {str(root)!r}: {'; '.join(parts)}.")


def _mask_folder(folder: Path, known: dict[Path, str]) -> str:
    """The folder of masks beside images that a folder is or lies in, if it does; gets into ``known``."""
    if folder not in known:
        name, parent = folder.name, folder.parent
        above = _mask_folder(parent, known)
        if not above and (name in _MASK_FOLDERS or name.startswith("labels")):
            beside = any(path.name.startswith("images") and path.is_dir() for path in parent.iterdir())
            above = f"{name}/" if beside else ""
        known[folder] = above
    return known[folder]


def _name_suffix(name: str) -> str:
    """What of a file's name is not in those of its results."""
    last = Path(name).suffix  # DICOM files are named by numbers with points between them
    return image_suffix(name) or ("" if last[1:].isdigit() else last)


def _join_channels(named: Sequence[tuple[str, str]], count: int, scans: bool) -> list[tuple[str, str | list[str]]]:
    """Images by their names, where files that are channels of one image are one."""
    files: dict[tuple[str, str, Path], dict[int, str]] = {}
    for name, path in named:
        match = CHANNEL_NAME.fullmatch(name)
        if match and _has_one_channel(path):
            files.setdefault((match[1], image_suffix(path), Path(path).parent), {})[int(match[2])] = path
    joined: dict[str, tuple[str, list[str]]] = {}
    for (case, *_), channels in files.items():
        if sorted(channels) == list(range(count)):
            paths = [channels[i] for i in range(count)]
            joined |= {path: (case, paths) for path in paths}
        # gray pictures with other numbers are images of their own, as a gray picture is taken for one in color
        elif scans or max(channels) < count:
            raise ValueError(_incomplete(case, channels, count))
    images: list[tuple[str, str | list[str]]] = []
    for name, path in named:
        case, paths = joined.get(path, (name, [path]))
        if path == paths[0]:
            images.append((case, paths if len(paths) > 1 else path))
    return images


def _incomplete(case: str, channels: Mapping[int, str], count: int) -> str:
    names = [Path(path).name for _, path in sorted(channels.items())]
    wanted = f"{case}_0000 to {case}_{count - 1:04}"
    return (
        f"The image {case!r} in {str(Path(next(iter(channels.values()))).parent)!r} has the channels {names}, but the "
        f"network takes {count}, {wanted}: add what is missing, or rename files that are images of their own."
    )


def _has_one_channel(path: str) -> bool:
    """Whether a file holds a single channel; what cannot be read is named later."""
    try:
        if Path(path).suffix.lower() in PICTURE_SUFFIXES:
            with Image.open(path) as picture:
                return picture.mode in ("1", "L", "LA", "La", "I", "F") or picture.mode.startswith("I;16")
        if path.lower().endswith((".nii", ".nii.gz")):
            return all(n == 1 for n in cast(Any, nibabel.load(path)).shape[3:])
        return True
    except Exception:  # any reader's
        return True


def _shown(image: str | Sequence[str]) -> str:
    """How an image is named: a DICOM series by its folder."""
    if isinstance(image, str):
        return image
    return image[0] if image_suffix(image[0]) else str(Path(image[0]).parent)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as e:
        raise ValueError(f"The list {str(path)!r} is not in UTF-8: save it so.") from e


def stored_spacing(bundle_root: str | Path) -> list[float] | None:
    """
    The median distance of voxels, in mm, of the images that a bundle was planned for; None where it does not say.

    Args:
        bundle_root: folder of the bundle, whose ``configs/metadata.json`` has it as ``spacing`` of the image.

    Example:
        >>> import tempfile
        >>> from monai_sscm.io import stored_spacing
        >>> stored_spacing(tempfile.mkdtemp()) is None
        True
    """
    path = Path(bundle_root) / "configs" / "metadata.json"
    try:
        found = json.loads(path.read_text("utf-8"))["network_data_format"]["inputs"]["image"]["spacing"]
        return [float(x) for x in found]
    except (OSError, ValueError, KeyError, TypeError):
        return None


class ReadableImages(IterableDataset):
    """
    Data set of images to segment that leaves out those that cannot be read.

    To be loaded in the main process (``num_workers=0``), where :py:meth:`finish` is called at the end, which says which
    and why; ``unreadable`` has it by their paths.

    Args:
        data: items with ``image``, the path, as :py:func:`inference_datalist` gives them.
        transform: transform that loads them.
        scans: whether they may be MHA or NRRD volumes and DICOM series too.
        spacing: distance of voxels in mm, along the axes that ``transform`` gives, at which the network was trained: a
            warning names a volume that is more than twice as coarse or as fine. None: not known, or they are resampled.

    Example:
        >>> import os, tempfile
        >>> from monai.transforms import LoadImaged
        >>> from monai_sscm.io import PictureReader, ReadableImages, inference_datalist
        >>> from PIL import Image
        >>> folder = tempfile.mkdtemp()
        >>> Image.new("L", (32, 32)).save(folder + "/a.png")
        >>> with open(folder + "/cut_off.png", "wb") as file:
        ...     _ = file.write(b"this is no picture")
        >>> images = ReadableImages(inference_datalist(folder), LoadImaged("image", reader=PictureReader))
        >>> [item["name"] for item in images], [os.path.basename(path) for path in images.unreadable]
        (['a'], ['cut_off.png'])
    """

    data: Sequence[dict[str, Any]]
    transform: Callable[[Any], Any]

    def __init__(
        self,
        data: Sequence[dict[str, Any]],
        transform: Callable[[Any], Any],
        scans: bool = False,
        spacing: Sequence[float] | None = None,
    ) -> None:
        super().__init__(data, transform)
        self.spacing = spacing
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
                self.unreadable[_shown(item["image"])] = one_line(root_cause(e), 500)
                continue
            self._compare_spacing(item["image"], loaded[0]["image"])
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

    def _compare_spacing(self, path: str | Sequence[str], image: Any) -> None:
        if self.spacing is None or not isinstance(image, MetaTensor) or image_suffix(_shown(path)) in PICTURE_SUFFIXES:
            return
        found = [float(x) for x in image.pixdim[: len(self.spacing)]]
        if any(not 0.5 <= a / b <= 2 for a, b in zip(found, self.spacing, strict=False)):
            here, there = (" x ".join(f"{x:.3g}" for x in spacing) for spacing in (found, self.spacing))
            _logger.warning(
                f"{_shown(path)!r} has voxels of {here} mm, the network was trained at {there} mm: its mask may be "
                "wrong. Resample it, or train with `--spacing`."
            )

    def _check_suffix(self, image: str | Sequence[str]) -> None:
        if self.scans:
            if not VolumeReader().verify_suffix(image) and Path(str(image)).exists():
                raise ValueError(
                    f"{image!r} is no {_FORMATS}, NIfTI, MHA, NRRD or DICOM image: save it as one of these."
                )
            return
        for path in [image] if isinstance(image, (str, Path)) else image:
            if Path(path).is_dir():
                raise ValueError(f"{path!r} is a folder without images: give one that has some.")
            if image_suffix(path).lower() not in _SUFFIXES:
                raise ValueError(f"{path!r} is no {_FORMATS} or NIfTI image: save it as one of these.")

    @staticmethod
    def _check_name(name: str) -> None:
        """Refuse a name that leaves no room for those of its results, while they are written too."""
        if len(os.fsencode(Path(name).name)) > 255 - len("_overlay.png.part.nii.gz"):
            raise ValueError("its name is too long for those of its results: rename it.")
