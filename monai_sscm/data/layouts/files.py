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

"""Files of a data set: which are images, and which are the masks of which."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any

from monai_sscm.io.files import NAME_SEPARATOR, image_suffix, mask_stem, natural_key, plain_name

__all__ = ["file_names", "list_images", "masks_by_image", "name_others", "only_mask", "pair_by_guess", "read_json"]

_IMAGE_WORDS = "images?|img|im|training|train|test|original|orig|photo|input|raw"
_IMAGE = re.compile(
    rf"(?P<stem>.+?){NAME_SEPARATOR}+(?:{_IMAGE_WORDS})|(?:{_IMAGE_WORDS}){NAME_SEPARATOR}+(?P<stem_2>.+)",
    re.IGNORECASE,
)


def read_json(path: Path) -> Any:
    """
    The contents of a JSON file.

    Raises:
        ValueError: when it is none.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as e:
        raise ValueError(f"{str(path)!r} is no JSON ({e}): mend it, or take it away.") from e


def list_images(folder: str | Path, folders: bool = False, passed_over: dict[str, str] | None = None) -> dict[str, str]:
    """
    The images of a folder by their names without suffix, in natural order.

    Args:
        folder: the folder.
        folders: whether a folder within counts as an image.
        passed_over: gets what is no image, and why.

    Raises:
        FileNotFoundError: when there is no such folder, or a link in it leads to nothing.
        ValueError: when two images have the same name.
    """
    passed_over = {} if passed_over is None else passed_over
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.path, entry.is_dir(), entry.is_symlink()) for entry in entries]
    except (FileNotFoundError, NotADirectoryError) as e:
        raise FileNotFoundError(f"There is no folder {str(folder)!r}: check `dataset_dir`.") from e
    images: dict[str, str] = {}
    for file, path, is_folder, is_link in sorted(found, key=lambda entry: natural_key(entry[0])):
        if is_link and not os.path.exists(path):
            raise FileNotFoundError(f"{path!r} is a link to a file that is not there: mend it, or take it away.")
        suffix = "" if is_folder else image_suffix(file)
        if file.startswith("."):
            passed_over[path] = "hidden"
        elif is_folder and not folders:
            passed_over[path] = "a folder within"
        elif not is_folder and not suffix:
            passed_over[path] = "no image of a known format"
        else:
            name = plain_name(file[: len(file) - len(suffix)])
            if name in images:
                raise ValueError(
                    f"{path!r} and {os.path.basename(images[name])!r} have the same name: keep one of them."
                )
            images[name] = path
    return images


def masks_by_image(images: Container[str], masks: Mapping[str, str]) -> dict[str, list[str]]:
    """
    The masks of every image: the mask of its own name, else those of its name with more behind an underscore.

    A mask belongs to the longest image name that it fits: that of ``p1_2`` is no mask of ``p1``.
    """
    found: dict[str, list[str]] = {}
    for mask, path in masks.items():
        name = mask
        while name not in images and "_" in name:
            name = name.rpartition("_")[0]
        found.setdefault(name, []).append(path)
    return found | {mask: [path] for mask, path in masks.items() if mask in images}


def _image_stem(name: str) -> str:
    match = _IMAGE.fullmatch(name)
    return (match["stem"] or match["stem_2"]) if match else name


def pair_by_guess(images: Iterable[str], masks: Mapping[str, str]) -> dict[str, list[str]]:
    """
    The masks of every image by what their names seem to mean: ``a_mask`` and ``mask_a`` are masks of ``a``, of
    ``a_image`` or of ``a_training``. Masks that fit no image are not in the answer.

    Raises:
        ValueError: when a mask may be that of several images.
    """
    images = list(images)
    known = set(images)
    by_stem: dict[str, list[str]] = {}
    for name in images:
        by_stem.setdefault(_image_stem(name), []).append(name)
    found: dict[str, list[str]] = {}
    for mask, path in masks.items():
        stem = mask_stem(mask) or mask
        names = [stem] if stem in known else by_stem.get(stem, [])
        if len(names) > 1:
            raise ValueError(f"{path!r} may be the mask of any of {names[:5]}: name it as its image.")
        if names:
            found.setdefault(names[0], []).append(path)
    return found


def only_mask(name: str, masks: list[str]) -> str | None:
    """
    The mask of an image; None where it has none.

    Raises:
        ValueError: when it has several.
    """
    if len(masks) > 1:
        names = [os.path.basename(path) for path in masks]
        raise ValueError(f"The image {name!r} has {len(masks)} masks, {names}: keep one.")
    return masks[0] if masks else None


def file_names(paths: Iterable[str], root: Path) -> list[str]:
    """Names of images without suffix; where two have the same, all with the folders that they are in."""
    paths = list(paths)
    names = [plain_name(os.path.basename(path).removesuffix(image_suffix(path))) for path in paths]
    if len(set(names)) < len(names):
        relative = [os.path.relpath(path, root) for path in paths]
        names = [Path(path.removesuffix(image_suffix(path))).as_posix() for path in relative]
    return names


def name_others(root: Path, used: Container[str], passed_over: dict[str, str]) -> None:
    """Note the files and folders in a data set's folder that its layout does not have."""
    for path in sorted(root.iterdir()):
        if path.name not in used:
            passed_over.setdefault(str(path), "not part of this layout")
