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

"""What is listed of a data set: which files are used and which are not, and what has changed since."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

import ignite.distributed as idist

from .contents import content_marks
from .layouts import Layout
from .layouts.layout import EXTRAS

__all__ = ["describe_changes", "listed_images"]

_LEARNED_FROM = ("labeled", "unlabeled", "val")
_MARKS = re.compile(r"(?<=bytes) \([0-9a-f ]*\)")
_WORDS = {part: part for part in ("labeled", "unlabeled", "val", "test")} | {"val": "validation"}
_logger = logging.getLogger(__name__)


def listed_images(
    datalist: Mapping[str, Sequence[Mapping[str, Any]]], dataset_dir: str | Path
) -> dict[str, dict[str, str]]:
    """
    What a training learns from and chooses by: the images in their order, each with its mask, patient, file sizes and a
    mark of what is in the files, see ``monai_sscm.data.contents.content_marks``.

    Args:
        datalist: items by ``labeled``, ``unlabeled`` and ``val``, see
            :py:func:`monai_sscm.data.semi_supervised_datalist`.
        dataset_dir: folder of the data set, or its list. Names are relative to it, so that it can be moved.

    Returns:
        by part and name of image, in words, what else there is to know of it.

    Example:
        >>> import os, tempfile
        >>> from monai_sscm.data import listed_images
        >>> folder = tempfile.mkdtemp()
        >>> for name in ("a.png", "a_mask.png"):
        ...     _ = open(os.path.join(folder, name), "w").write(name)
        >>> item = {"image": f"{folder}/a.png", "label": f"{folder}/a_mask.png", "group": "a"}
        >>> listed_images({"labeled": [item], "unlabeled": [], "val": []}, folder)["labeled"]
        {'a.png': 'of 5 bytes (29d6e224), mask a_mask.png of 10 bytes (85273d74), patient a'}
    """
    root = Path(dataset_dir)
    root = root.parent if root.is_file() else root
    items = [item for part in _LEARNED_FROM for item in datalist[part]]
    marks = content_marks((file for item in items for file in _files(item)), _masks(items))
    return {part: dict(_name_and_details(item, root, marks) for item in datalist[part]) for part in _LEARNED_FROM}


def _files(item: Mapping[str, Any]) -> list[str]:
    return [item["image"]] if isinstance(item["image"], str) else [str(file) for file in item["image"]]


def _masks(items: Sequence[Mapping[str, Any]]) -> list[str]:
    return [str(item["label"]) for item in items if "label" in item]


def _name_and_details(item: Mapping[str, Any], root: Path, marks: Mapping[str, str]) -> tuple[str, str]:
    files = _files(item)
    name = ", ".join(_relative(file, root) for file in files)
    name += f", slice {item['slice']}" if "slice" in item else ""
    details = [f"of {sum(map(_size, files))} bytes ({' '.join(marks[file] for file in files)})"]
    if "label" in item:
        label = str(item["label"])
        details.append(f"mask {_relative(label, root)} of {_size(label)} bytes ({marks[label]})")
    if "group" in item:
        details.append(f"patient {item['group']}")
    details += [f"{key} {list(item[key])}" for key in EXTRAS if key in item]
    return name, ", ".join(details)


def _relative(file: str, root: Path) -> str:
    try:
        return PurePath(os.path.relpath(file, root)).as_posix()
    except ValueError:  # on another drive
        return PurePath(file).as_posix()


def _size(file: str) -> int:
    """Bytes of a file, or of the files in a folder; 0 where there is none."""
    if os.path.isdir(file):
        with os.scandir(file) as entries:
            return sum(entry.stat().st_size for entry in entries if entry.is_file())
    return os.stat(file).st_size if os.path.exists(file) else 0


def describe_changes(before: Mapping[str, Mapping[str, str]], now: Mapping[str, Mapping[str, str]]) -> str | None:
    """
    How what is listed differs from what was.

    Args:
        before, now: what :py:func:`listed_images` returned.

    Returns:
        the first difference of every part in words; None where there is none.

    Example:
        >>> from monai_sscm.data import describe_changes
        >>> describe_changes({"labeled": {"a.png": ""}}, {"labeled": {"a.png": "", "b.png": ""}})
        'labeled images: 1 added (b.png)'
        >>> describe_changes({"labeled": {"a.png": ""}}, {"labeled": {"a.png": ""}}) is None
        True
    """
    changes = []
    for part, ours in now.items():
        theirs = before.get(part, {})
        added, removed = [n for n in ours if n not in theirs], [n for n in theirs if n not in ours]
        both = [name for name in ours if name in theirs]
        other = [name for name in both if _MARKS.sub("", ours[name]) != _MARKS.sub("", theirs[name])]
        of_part = [f"{len(n)} {what} ({_some(n)})" for what, n in (("added", added), ("removed", removed)) if n]
        if other:
            was, now_is = (_MARKS.sub("", details[other[0]]) for details in (theirs, ours))
            of_part.append(f"{other[0]} was {was}, and is {now_is}")
        for what, changed in _other_contents({name: (theirs[name], ours[name]) for name in both}).items():
            of_part.append(f"{len(changed)} with other contents {what} ({_some(changed)})")
        if not of_part and list(ours) != list(theirs):
            of_part = ["in another order"]
        changes += [f"{_WORDS[part]} images: {', '.join(of_part)}"] if of_part else []
    return "; ".join(changes) or None


def _other_contents(details: Mapping[str, tuple[str, str]]) -> dict[str, list[str]]:
    """
    The images whose files have the sizes that they had and other contents, by what is changed: the image or its mask.
    """
    changed: dict[str, list[str]] = {}
    for name, (before, now) in details.items():
        if _MARKS.sub("", before) != _MARKS.sub("", now):
            continue
        marks, others = _MARKS.findall(before), _MARKS.findall(now)  # none in checkpoints of version 0.9
        for what, mark, other in zip(("of the image", "of the mask"), marks, others, strict=False):
            if mark != other:
                changed.setdefault(what, []).append(name)
    return changed


def first_file(image: str | Sequence[str]) -> str:
    """The file of an image, or that of its first channel."""
    return image if isinstance(image, str) else image[0]


def log_listing(layout: Layout, datalist: Mapping[str, Sequence[Any]]) -> None:
    """
    Say in a line, once, what of a data set is used, and what is not and why.

    Args:
        layout: the data set's.
        datalist: what is used of it.
    """
    if idist.get_rank() > 0:
        return
    counts = [f"{len(datalist[part])} {word}" for part, word in _WORDS.items() if datalist[part]]
    text = f"{layout.root!r} has {', '.join(counts)} images."
    without = [
        case.name
        for case in layout.cases
        if case.label is None and case.part != "test" and "unlabeled_images" not in Path(first_file(case.image)).parts
    ]
    text += f" Without a mask: {len(without)} ({_some(without)})." if without else ""
    reasons: dict[str, list[str]] = {}
    for path, why in layout.passed_over.items():
        reasons.setdefault(why, []).append(os.path.basename(path))
    tests = [case.name for case in layout.cases if case.label is None and case.part == "test"]
    reasons |= {"test images without masks": tests} if tests else {}
    unused = [f"{len(names)}, {why} ({_some(names)})" for why, names in reasons.items()]
    _log_once(text + (f" Not used: {'; '.join(unused)}." if unused else ""))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + ", ..." * (len(names) > 3)


@lru_cache
def _log_once(text: str) -> None:
    _logger.info(text)
