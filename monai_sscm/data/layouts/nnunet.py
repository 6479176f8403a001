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

"""nnU-Net's raw data: a file for each channel of an image."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from monai_sscm.io.files import CHANNEL_NAME, image_suffix

from .decathlon import test_part
from .files import list_images, name_others
from .folders import pair_masks
from .layout import Case, Layout
from .names import described

__all__ = ["is_nnunet", "read_nnunet"]


def is_nnunet(root: Path, description: Mapping[str, Any] | None) -> bool:
    """Whether all images in ``imagesTr/`` end in the number of their channel, as their masks do not."""
    names = _names(root / "imagesTr")
    cases = {match[1] for match in map(CHANNEL_NAME.fullmatch, names) if match}
    if not names or not all(map(CHANNEL_NAME.fullmatch, names)):
        return False
    labels = set(_names(root / "labelsTr"))
    return bool(cases & labels) or (not labels & set(names) and "file_ending" in (description or {}))


def _names(folder: Path) -> list[str]:
    files = os.listdir(folder) if folder.is_dir() else []
    return [file.removesuffix(image_suffix(file)) for file in files if image_suffix(file) and not file.startswith(".")]


def read_nnunet(root: Path, description: Mapping[str, Any] | None, use_test: bool) -> Layout:
    """
    Read ``imagesTr/case_0000.nii.gz``, ``labelsTr/case.nii.gz``, and so on.

    Args:
        root: the folder.
        description: contents of ``dataset.json``. None: there is none.
        use_test: whether test images without masks are for training.
    """
    passed_over: dict[str, str] = {}
    folders = ["imagesTr", "labelsTr", "imagesTs", "labelsTs", "unlabeled_images"]
    name_others(root, {*folders, "dataset.json", "split.json"}, passed_over)
    train, labels, tests, test_labels, unlabeled = (
        list_images(root / folder, False, passed_over) if (root / folder).is_dir() else {} for folder in folders
    )
    images = _join_channels(train, root / "imagesTr")
    masks, guessed = pair_masks(images, labels, passed_over)  # type: ignore[arg-type]
    cases = [Case(name, image, masks.get(name)) for name, image in images.items()]
    cases += [
        Case(name, image, None, part="train")
        for name, image in _join_channels(unlabeled, root / "unlabeled_images").items()
    ]
    cases += test_part(_join_channels(tests, root / "imagesTs"), test_labels, use_test, passed_over)
    _check_channels(cases, root)
    return Layout("nnunet", str(root), cases, guessed=guessed, passed_over=passed_over, **described(description))


def _join_channels(images: Mapping[str, str], folder: Path) -> dict[str, str | list[str]]:
    """The files of every image in the order of its channels, one file by itself."""
    files: dict[str, dict[str, str]] = {}
    for name, path in images.items():
        match = CHANNEL_NAME.fullmatch(name)
        if match is None:
            raise ValueError(f"{path!r} lacks the number of its channel: name it as the others in {str(folder)!r}.")
        files.setdefault(match[1], {})[match[2]] = path
    joined = {name: [path for _, path in sorted(channels.items())] for name, channels in files.items()}
    return {name: paths if len(paths) > 1 else paths[0] for name, paths in joined.items()}


def _check_channels(cases: Iterable[Case], root: Path) -> None:
    counts: dict[int, str] = {}
    for case in cases:
        counts.setdefault(len(case.image) if isinstance(case.image, list) else 1, case.name)
    if len(counts) > 1:
        (first, a), (second, b) = list(counts.items())[:2]
        raise ValueError(
            f"In {str(root)!r} the image {a!r} has {first} channels and {b!r} has {second}: each must have as many."
        )
