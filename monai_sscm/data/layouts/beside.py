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

"""Masks beside their images, in one folder or in folders within it."""

from __future__ import annotations

import os
from pathlib import Path

from monai_sscm.io.files import image_suffix, mask_stem, natural_key, plain_name

from .files import only_mask, pair_by_guess
from .layout import Case, Layout

__all__ = ["read_beside"]


def read_beside(root: Path) -> Layout | None:
    """
    Read images and, named after them, their masks, such as ``a.png`` and ``a_mask.png``.

    Returns:
        the layout; None where no mask is found.
    """
    passed_over: dict[str, str] = {}
    guessed: list[tuple[str, str]] = []
    cases: list[Case] = []
    for folder, within, files in os.walk(root):
        hidden = [name for name in within if name.startswith(".")]
        passed_over.update({os.path.join(folder, name): "hidden" for name in hidden})
        links = [name for name in within if os.path.islink(os.path.join(folder, name)) and name not in hidden]
        passed_over.update({os.path.join(folder, name): "a link to a folder" for name in links})
        within[:] = sorted((name for name in within if name not in hidden), key=natural_key)
        images, masks = _images_and_masks(folder, files, passed_over, root)
        found = pair_by_guess(images, masks)
        prefix = "" if folder == str(root) else Path(os.path.relpath(folder, root)).as_posix() + "/"
        for name, path in images.items():
            label = only_mask(prefix + name, found.get(name, []))
            cases.append(Case(prefix + name, path, label))
            guessed += [(path, label)] if label is not None else []
        used = {path for paths in found.values() for path in paths}
        passed_over.update(
            {path: "a mask by its name, without an image" for path in masks.values() if path not in used}
        )
    return Layout("beside", str(root), cases, None, None, guessed, passed_over) if guessed else None


def _images_and_masks(
    folder: str, files: list[str], passed_over: dict[str, str], root: Path
) -> tuple[dict[str, str], dict[str, str]]:
    """The images of a folder, and those whose names say that they are masks, by their names without suffix."""
    images: dict[str, str] = {}
    masks: dict[str, str] = {}
    for file in sorted(files, key=natural_key):
        path, suffix = os.path.join(folder, file), image_suffix(file)
        name = plain_name(file[: len(file) - len(suffix)])
        if file.startswith("."):
            passed_over[path] = "hidden"
        elif os.path.islink(path) and not os.path.exists(path):
            raise FileNotFoundError(f"{path!r} is a link to a file that is not there: mend it, or take it away.")
        elif not suffix:
            if not (file == "split.json" and folder == str(root)):
                passed_over[path] = "no image of a known format"
        else:
            same = masks if mask_stem(name) else images
            if name in same:
                raise ValueError(f"{path!r} and {os.path.basename(same[name])!r} have the same name: keep one of them.")
            same[name] = path
    return images, masks
