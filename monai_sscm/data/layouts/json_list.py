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

"""Data lists in JSON, as MONAI and Auto3DSeg have them."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from monai_sscm.io.files import image_suffix

from .files import file_names, read_json
from .layout import EXTRAS, Case, Layout
from .names import described

__all__ = ["find_json_list", "read_json_list"]

_KEYS = ("image", "label", "fold", "group", *EXTRAS)
_LISTS = ("training", "validation", "testing")
# what others call a label
_LABEL_WORDS = ("mask", "masks", "seg", "segmentation", "annotation", "target", "gt", "ground_truth")
_ROOTS = ("dataroot", "data_root", "root")
_MOST_FILES = 10  # of JSON in a folder, to look into for a data list; annotation tools write one beside each image


def find_json_list(root: Path) -> Path | None:
    """
    The data list in a folder: ``datalist.json``, or the only JSON file that is one.

    Raises:
        ValueError: when there are several.
    """
    if (root / "datalist.json").is_file():
        return root / "datalist.json"
    files = sorted(path for path in root.glob("*.json") if path.name != "split.json" and not path.name.startswith("."))
    lists = [path for path in files if _is_json_list(read_json(path))] if len(files) <= _MOST_FILES else []
    if len(lists) > 1:
        raise ValueError(
            f"{str(root)!r} has several data lists, {[path.name for path in lists]}: set `dataset_dir` to one of them."
        )
    return lists[0] if lists else None


def _is_json_list(content: Any) -> bool:
    entries = content.get("training") if isinstance(content, dict) else None
    return isinstance(entries, list) and all(isinstance(entry, dict) and "image" in entry for entry in entries)


def read_json_list(path: Path, use_test: bool) -> Layout:
    """
    Read ``{"training": [{"image": path, "label": path, "fold": 0}, ...], "validation": [...], "testing": [...]}``.

    Paths are relative to ``dataroot`` where the list names a folder that is there, else to the file's folder. An entry
    without ``label`` is unlabelled. ``group``, the patient, is named for all entries or for none. Where there is no
    validation list and entries have different folds, fold 0 validates; its entries without a mask are for training,
    unless their patient validates. Keys of entries that are not known are passed over, and misspelled ones refused.

    Args:
        path: the JSON file.
        use_test: whether test images without masks are for training.
    """
    content = read_json(path)
    if not _is_json_list(content):
        raise ValueError(
            f'{str(path)!r} is no data list: it must be {{"training": [{{"image": path, "label": path}}, ...]}}.'
        )
    passed_over: dict[str, str] = {}
    _refuse_other_lists(path, content, passed_over)
    cases: list[Case] = []
    folds = {entry.get("fold") for entry in content["training"]}
    fold_validates = len(folds) > 1 and not content.get("validation")
    validate = [e for e in content["training"] if fold_validates and e.get("fold") == 0 and e.get("label")]
    patients = {str(entry["group"]).strip() for entry in validate if entry.get("group") is not None}
    roots = _roots(path, content)
    for part, key in (("train", "training"), ("val", "validation"), ("test", "testing")):
        for entry in content.get(key) or []:
            case = _read_entry(path, entry, part, roots)
            for other in _others(entry):
                passed_over[f"{path}: {other}"] = "a key of entries that is not used"
            if part == "train" and fold_validates and entry.get("fold") == 0:
                if case.label is not None:
                    case = replace(case, part="val")
                elif case.group in patients:
                    passed_over[_first_file(case)] = "without a mask, of a patient who validates"
                    continue
            elif part == "test" and case.label is None and use_test:
                case = replace(case, part="train")
            if case.part == "val" and case.label is None:
                passed_over[_first_file(case)] = "without a mask among the validation images"
            else:
                cases.append(case)
    files = [_first_file(case) for case in cases]
    if len(set(files)) < len(files):
        twice = sorted(file for file, count in Counter(files).items() if count > 1)
        raise ValueError(f"{str(path)!r} lists {twice[:5]} more than once: list each image once.")
    lacking = [_first_file(case) for case in cases if case.group is None and (case.label or case.part != "test")]
    if lacking and any(case.group is not None for case in cases):
        raise ValueError(
            f"{str(path)!r} names the `group`, the patient, of some images but not of {len(lacking)}, such as "
            f"{lacking[:5]}: name it for all or for none."
        )
    _name_unlisted(path, cases, passed_over)
    names = file_names(files, roots[0])
    cases = [replace(case, name=name) for name, case in zip(names, cases, strict=True)]
    return Layout("datalist", str(path), cases, guessed=[], passed_over=passed_over, **described(content))


def _refuse_other_lists(path: Path, content: Mapping[str, Any], passed_over: dict[str, str]) -> None:
    """Refuse lists of entries under names that are not ours, such as ``val``; lists of names alone are passed over."""
    for key, entries in content.items():
        if key in _LISTS or not (isinstance(entries, list) and entries):
            continue
        if any(isinstance(entry, dict) and entry.keys() & {"image", "label"} for entry in entries):
            raise ValueError(
                f"{str(path)!r} lists images as {key!r}, which there is not: the lists are {', '.join(_LISTS)}."
            )
        if any(isinstance(entry, str) and image_suffix(entry) for entry in entries):
            passed_over[f"{path}: {key}"] = f"a list that is none of {', '.join(_LISTS)}"


def _name_unlisted(path: Path, cases: Sequence[Case], passed_over: dict[str, str]) -> None:
    """Note the images that lie beside listed ones and are not listed, and a split, which lists do not have."""
    listed = [file for case in cases for file in ([case.image] if isinstance(case.image, str) else case.image)]
    listed += [case.label for case in cases if case.label is not None] + [*passed_over]
    known = set(map(os.path.realpath, listed))
    for folder in dict.fromkeys(os.path.dirname(file) for file in listed if os.path.isfile(file)):
        with os.scandir(folder) as entries:
            for entry in entries:
                if image_suffix(entry.name) and entry.is_file() and os.path.realpath(entry.path) not in known:
                    passed_over[entry.path] = (
                        "hidden" if entry.name.startswith(".") else "the data list does not name it"
                    )
    if (path.parent / "split.json").exists():
        passed_over[str(path.parent / "split.json")] = "the data list says which part an image is of"


def _first_file(case: Case) -> str:
    return case.image if isinstance(case.image, str) else case.image[0]


def _roots(path: Path, content: Mapping[str, Any]) -> list[Path]:
    """Folders that paths are relative to, the first first."""
    named = (path.parent / content[key] for key in _ROOTS if isinstance(content.get(key), str))
    return [*(root for root in named if root.is_dir()), path.parent]


def _others(entry: Any) -> list[str]:
    """The keys of an entry that are not ours."""
    return [key for key in entry if key not in _KEYS] if isinstance(entry, dict) else []


def _refuse_misspelled(path: Path, entry: Mapping[str, Any]) -> None:
    for key in _others(entry):
        plain = str(key).lower().replace("-", "_").replace(" ", "_").replace("labelled", "labeled")
        if plain in _LABEL_WORDS and "label" not in entry:
            raise ValueError(f"{str(path)!r} lists {entry!r}: there is no `{key}`, did you mean `label`?")
        near = difflib.get_close_matches(plain, set(_KEYS) - entry.keys(), 1, 0.85)
        if near:
            raise ValueError(f"{str(path)!r} lists {entry!r}: there is no `{key}`, did you mean `{near[0]}`?")


def _read_entry(path: Path, entry: Any, part: str, roots: Sequence[Path]) -> Case:
    """An entry of the list as a case without a name."""
    entry = {"image": entry} if isinstance(entry, str) else entry
    files = entry.get("image") if isinstance(entry, dict) else None
    files = [files] if isinstance(files, str) else files
    label = entry.get("label") if isinstance(entry, dict) else None
    if not (_is_list(files, str) and files) or not isinstance(label, (str, type(None))):
        raise ValueError(f'{str(path)!r} lists {entry!r}: it must be {{"image": path, "label": path}}.')
    _refuse_misspelled(path, entry)
    image = [_find(path, file, roots) for file in files]
    label = _find(path, label, roots) if label else None
    extras = {key: entry[key] for key in EXTRAS if entry.get(key) is not None}
    origin = f"{image[0]!r} in {str(path)!r}"
    for key, value in extras.items():
        if not _is_list(value, int) or min(value, default=0) < 0:
            raise ValueError(f"`{key}` of {origin} must be a list of numbers from 0, got {value!r}.")
        if label is None:
            raise ValueError(f"{origin} has `{key}` and no `label`: add the one or drop the other.")
    group = entry.get("group")
    if isinstance(group, bool) or not isinstance(group, (str, int, type(None))):
        raise ValueError(f"`group` of {origin} must be the patient's name or number, got {group!r}.")
    group = None if group is None else str(group).strip() or None
    return Case("", image if len(image) > 1 else image[0], label, part, group, extras)


def _find(path: Path, file: str, roots: Sequence[Path]) -> str:
    """The path of a file that is listed."""
    paths = [os.path.join(root, file) for root in roots]
    found = [candidate for candidate in paths if os.path.exists(candidate)]
    if not found:
        where = "its folder" if len(roots) == 1 else f"its folder, or to {str(roots[0])!r} that it names"
        raise FileNotFoundError(
            f"{str(path)!r} lists {paths[0]!r}, which is not there: paths in it are relative to {where}."
        )
    return found[0]


def _is_list(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) and not isinstance(item, bool) for item in value)
