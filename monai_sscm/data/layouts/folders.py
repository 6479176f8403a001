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

"""A folder of images and a folder of masks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from monai_sscm.io.files import FIELD_FOLDERS, LABEL_FOLDERS

from .files import list_images, masks_by_image, name_others, only_mask, pair_by_guess
from .layout import Case, Layout

__all__ = ["pair_masks", "read_folders", "unlabeled_images"]


def read_folders(root: Path, folders: bool) -> Layout:
    """Read ``images/``, the masks in the first of ``LABEL_FOLDERS`` that is there, and ``unlabeled_images/``."""
    passed_over: dict[str, str] = {}
    labels = next(root / name for name in LABEL_FOLDERS if (root / name).is_dir())
    for name in FIELD_FOLDERS:
        if (root / name).is_dir():
            passed_over[str(root / name)] = "perhaps the field of view, no masks to learn from"
    name_others(root, {"images", labels.name, "unlabeled_images", "split.json"}, passed_over)
    images = list_images(root / "images", folders, passed_over)
    masks, guessed = pair_masks(images, list_images(labels, folders, passed_over), passed_over)
    cases = [Case(name, path, masks.get(name)) for name, path in images.items()]
    cases += unlabeled_images(root, folders, passed_over)
    return Layout("folders", str(root), cases, None, None, guessed, passed_over)


def unlabeled_images(root: Path, folders: bool, passed_over: dict[str, str]) -> list[Case]:
    """The images of the folder ``unlabeled_images/``, if there is one."""
    folder = root / "unlabeled_images"
    images = list_images(folder, folders, passed_over) if folder.is_dir() else {}
    return [Case(name, path, None, part="train") for name, path in images.items()]


def pair_masks(
    images: Mapping[str, str], masks: Mapping[str, str], passed_over: dict[str, str]
) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """
    Find the mask of each image.

    Args:
        images: paths of images by their names.
        masks: paths of masks by their names.
        passed_over: gets the masks without an image.

    Returns:
        the masks by the names of the images, and the pairs that were guessed.
    """
    found = masks_by_image(images, masks)
    left = {path for name, paths in found.items() if name not in images for path in paths}
    guesses = pair_by_guess(
        (name for name in images if name not in found), {name: path for name, path in masks.items() if path in left}
    )
    left -= {path for paths in guesses.values() for path in paths}
    passed_over.update({path: "no image has its name" for path in masks.values() if path in left})
    pairs = {}
    for name in images:
        mask = only_mask(name, found.get(name) or guesses.get(name, []))
        if mask is not None:
            pairs[name] = mask
    return pairs, [(images[name], pairs[name]) for name in guesses]
