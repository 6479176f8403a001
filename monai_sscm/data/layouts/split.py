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

"""The split of a data set into parts, and the patients that it keeps together."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_sscm.io.files import plain_name

from .files import read_json
from .layout import Case, Layout

__all__ = ["PARTS", "apply_split", "kept_together", "read_split"]

PARTS = ("train", "val", "test")


def read_split(root: Path, split: Mapping[str, Sequence[Any]] | None) -> Mapping[str, Sequence[Any]] | None:
    """The folder's ``split.json``, or the given split if there is none."""
    path = root / "split.json"
    if os.path.lexists(path) and not path.is_file():
        raise FileNotFoundError(f"{str(path)!r} is a link to nothing or a folder: mend it, or take it away.")
    if not path.is_file():
        return split
    found = read_json(path)
    parts = [found.get(part) for part in PARTS if part in found] if isinstance(found, dict) else []
    if not parts or not all(_are_names(names) for names in parts):
        raise ValueError(f'{str(path)!r} must be {{"train": [names], "val": [names], "test": [names]}}.')
    unknown = [key for key, names in found.items() if key not in (*PARTS, "kept_together") and isinstance(names, list)]
    if unknown:
        raise ValueError(
            f"{str(path)!r} has the part {unknown[0]!r}, which there is not: the parts are {', '.join(PARTS)}, and "
            "`kept_together` lists the images of each patient."
        )
    together = found.get("kept_together", [])
    if not isinstance(together, list) or not all(_are_names(group) for group in together):
        raise ValueError(f'"kept_together" in {str(path)!r} must be a list of lists, one for each patient.')
    return found


def kept_together(split: Mapping[str, Sequence[Any]] | None) -> dict[str, str]:
    """The patients by the names of their images, where the split keeps several together."""
    groups = (split or {}).get("kept_together", [])
    return {plain_name(str(name)): f"{group[0]} and others" for group in groups for name in group}


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, (str, int)) for name in value)


def apply_split(layout: Layout, split: Mapping[str, Sequence[Any]]) -> Layout:
    """
    Put the cases into the parts that a split names them in, in its order. Cases that have a part already, such as those
    of ``unlabeled_images/``, keep it; others that the split does not name are passed over.

    Args:
        layout: the layout.
        split: ``{"train": [names], "val": [names], "test": [names], "kept_together": [[names], ...]}``.

    Raises:
        FileNotFoundError: when it names an image that is not there, or one without a mask for validation or testing.
        ValueError: when it names an image twice in a part, or keeps unknown images together.
    """
    path = Path(layout.root) / "split.json"
    origin = f"The split in {str(path)!r}" if path.is_file() else "The split"
    names = {part: [plain_name(str(name)) for name in split.get(part, [])] for part in PARTS}
    doubles = sorted({name for part in names.values() for name, count in Counter(part).items() if count > 1})
    if doubles:
        raise ValueError(f"{origin} names {doubles[:5]} more than once in a part: name each image once.")
    free = {case.name: case for case in layout.cases if case.part is None}
    missing = [name for part in names.values() for name in part if name not in free]
    if missing:
        raise FileNotFoundError(f"{origin} names images that are not in {layout.root!r}: {missing[:5]}.")
    together = kept_together(split)
    unknown = sorted(set(together) - {case.name for case in layout.cases})
    if unknown:
        raise ValueError(f"{origin} keeps {unknown[:5]} together with others, but there are no such images.")
    cases = [dataclasses.replace(free[name], part=part) for part in PARTS for name in names[part]]
    for case in cases:
        if case.label is None and case.part != "train":
            raise FileNotFoundError(
                f"The image {case.name!r} of the {case.part} part has no mask: add it, or take the image out of the "
                "split."
            )
    named = {case.name for case in cases}
    unnamed = {_first(case): "the split does not name it" for name, case in free.items() if name not in named}
    cases += [case for case in layout.cases if case.part is not None]
    cases = [dataclasses.replace(case, group=together.get(case.name, case.group)) for case in cases]
    return dataclasses.replace(layout, cases=cases, passed_over=layout.passed_over | unnamed)


def _first(case: Case) -> str:
    return case.image if isinstance(case.image, str) else case.image[0]
