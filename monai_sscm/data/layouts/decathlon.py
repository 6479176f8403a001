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

"""The folders of the Medical Segmentation Decathlon, with or without ``dataset.json``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .files import file_names, list_images, name_others
from .folders import pair_masks, unlabeled_images
from .layout import EXTRAS, Case, Layout
from .names import described

__all__ = ["read_decathlon", "test_part"]

_FOLDERS = {"imagesTr", "labelsTr", "imagesTs", "labelsTs", "unlabeled_images", "dataset.json", "split.json"}


def read_decathlon(root: Path, description: Mapping[str, Any] | None, folders: bool, use_test: bool) -> Layout:
    """
    Read ``imagesTr/``, ``labelsTr/``, ``imagesTs/``, ``labelsTs/`` and ``unlabeled_images/``.

    Args:
        root: the folder.
        description: contents of ``dataset.json``. None: there is none, and masks are found by their names.
        folders: whether a folder counts as an image.
        use_test: whether test images without masks are for training.
    """
    passed_over: dict[str, str] = {}
    name_others(root, _FOLDERS, passed_over)
    images = list_images(root / "imagesTr", folders, passed_over)
    listed = (description or {}).get("training")
    guessed: list[tuple[str, str]] = []
    if listed is None:
        labels = root / "labelsTr"
        masks, guessed = pair_masks(
            images, list_images(labels, folders, passed_over) if labels.is_dir() else {}, passed_over
        )
        cases = [Case(name, path, masks.get(name)) for name, path in images.items()]
    else:
        pairs = _listed(root, listed, passed_over)
        named = {os.path.realpath(image) for image in pairs}
        cases = [Case(name, image, pairs[image]) for name, image in zip(file_names(pairs, root), pairs, strict=True)]
        cases += [Case(name, path, None) for name, path in images.items() if os.path.realpath(path) not in named]
        used = {os.path.realpath(label) for label in pairs.values() if label is not None}
        masks = list_images(root / "labelsTr", folders, passed_over) if (root / "labelsTr").is_dir() else {}
        not_listed = [path for path in masks.values() if os.path.realpath(path) not in used]
        passed_over.update(dict.fromkeys(not_listed, "dataset.json does not list it"))
    cases += unlabeled_images(root, folders, passed_over)
    tests = list_images(root / "imagesTs", folders, passed_over) if (root / "imagesTs").is_dir() else {}
    masks = list_images(root / "labelsTs", folders, passed_over) if (root / "labelsTs").is_dir() else {}
    cases += test_part(tests, masks, use_test, passed_over)
    return Layout("decathlon", str(root), cases, guessed=guessed, passed_over=passed_over, **described(description))


def _listed(root: Path, listed: Any, passed_over: dict[str, str]) -> dict[str, str | None]:
    """The images of ``training`` that are there, and their masks."""
    where = str(root / "dataset.json")
    if not isinstance(listed, list):
        raise ValueError(f'"training" in {where!r} must be a list of {{"image": path, "label": path}}.')
    pairs: dict[str, str | None] = {}
    for entry in listed:
        paths = [entry.get("image"), entry.get("label")] if isinstance(entry, dict) else [entry, None]
        if not isinstance(paths[0], str) or not isinstance(paths[1], (str, type(None))):
            raise ValueError(f'{where!r} lists {entry!r}: it must be {{"image": path, "label": path}}.')
        for key in EXTRAS:
            if isinstance(entry, dict) and entry.get(key):
                raise ValueError(
                    f"{where!r} has `{key}`, which is read from data lists: name the file 'datalist.json'."
                )
        image, label = (None if path is None else str(root / path) for path in paths)
        assert image is not None
        if os.path.basename(image).startswith("."):
            passed_over[image] = "hidden"
        elif not os.path.exists(image):
            passed_over[image] = "dataset.json lists it, but it is not there"
        else:
            if label is not None and not os.path.exists(label):
                passed_over[label], label = "dataset.json lists it, but it is not there", None
            pairs[image] = label
    return pairs


def test_part(
    images: Mapping[str, Any], masks: Mapping[str, str], use_test: bool, passed_over: dict[str, str]
) -> list[Case]:
    """The test images as cases: those with masks to be scored, those without to be trained on if that is asked for."""
    labels, _ = pair_masks(images, masks, passed_over)
    return [
        Case(name, image, labels.get(name), part="train" if use_test and name not in labels else "test")
        for name, image in images.items()
    ]
