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


"""Names of the classes, and whether the masks' values go with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai_sscm.transforms.label.array import check_unlabeled_classes

from .images import MaskSeen

__all__ = ["check_partial_mask", "name_classes"]

_TOLD = 5


def name_classes(masks: Sequence[MaskSeen], names: Sequence[str] | None, ignore_index: int | None) -> list[str]:
    """
    The classes' names; where the data set gives none, as many as the masks' values say.

    Args:
        masks: all masks.
        names: what the data set or the user calls the classes.
        ignore_index: value of pixels that do not count.

    Raises:
        ValueError: when a value is of no class, a class is left out, or there is background alone.
    """
    files: dict[int, list[str]] = {}  # that have a value
    # masks of 0 and 255 are read as two classes, also beside masks of 0 and 1
    found = [(mask.path, mask.objects.keys() - {ignore_index}) for mask in masks]
    white = [path for path, of_mask in found if 255 in of_mask and of_mask <= {0, 255}]
    others = [path for path, of_mask in found if max(of_mask, default=0) > 1 and not of_mask <= {0, 255}]
    for path, of_mask in found:
        for value in of_mask:
            files.setdefault(value, []).append(path)
    if 255 in files and not others and (names is None or len(names) == 2):
        return list(names or ("background", "foreground"))
    values = sorted(files)
    hint = " If 255 marks pixels that are not to be counted: --ignore_index 255." if 255 in files else ""
    if white and others:
        hint = (
            f" {len(white)} of the masks, such as {white[0]!r}, have 0 and 255 alone, {len(others)}, such as "
            f"{others[0]!r}, other values: save all in one way.{hint}"
        )
    if names is not None:
        wrong = [value for value in values if value >= len(names)]
        if wrong:
            raise ValueError(
                f"The masks have the values {wrong[:20]} ({_where(wrong, files)}), but there are {len(names)} classes, "
                f"{list(names)}: values go from 0 to {len(names) - 1}.{hint}"
            )
        return list(names)
    missing = sorted(set(range(max(values, default=0) + 1)) - set(values) - {0})
    if missing:
        wrong = [value for value in values if value > missing[0]]
        raise ValueError(
            f"The masks have the values {values[:20]} ({_where(wrong, files)}), but none has {missing[0]}: "
            f"number the classes 0, 1, 2, ..., or name all classes by --class_names.{hint}"
        )
    if max(values, default=0) == 0:
        raise ValueError(
            f"All {len(masks)} masks, such as {masks[0].path!r}, are 0 everywhere: there is nothing to learn."
        )
    return ["background", "foreground"] if max(values) == 1 else ["background"] + [f"class_{v}" for v in values if v]


def _where(values: Sequence[int], files: Mapping[int, Sequence[str]]) -> str:
    """Which file has which of the values."""
    told = []
    for value in values[:_TOLD]:
        more = f" and {len(files[value]) - 1} more" * (len(files[value]) > 1)
        told.append(f"{value} in {min(files[value])!r}{more}")
    return ", ".join(told) + ", ..." * (len(values) > _TOLD)


def check_partial_mask(item: Mapping[str, Any], mask: MaskSeen, num_classes: int, ignore_index: int | None) -> None:
    """
    Look whether a mask goes with the ``unlabeled_classes`` of its entry, as a training does.

    Raises:
        ValueError: when a class is said not to be labelled and is there, or there is no such class.
    """
    if item.get("unlabeled_classes"):
        present = mask.by_class(num_classes, ignore_index)
        check_unlabeled_classes(item["unlabeled_classes"], present, num_classes, f"the mask {mask.path!r}")
