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


"""Images whose masks leave pixels out: labelled and unlabelled at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .layouts.layout import EXTRAS

__all__ = ["unlabeled_items"]

_OF_MASKS = ("label", *EXTRAS)


def unlabeled_items(datalist: Mapping[str, Sequence[Mapping[str, Any]]], labeled_too: bool = False) -> list[dict]:
    """
    The images that pseudo-labels are made for: those without masks, and those whose masks leave pixels out.

    Args:
        datalist: items by ``labeled`` and ``unlabeled``, see :py:func:`monai_sscm.data.semi_supervised_datalist`.
        labeled_too: whether all masks may leave pixels out, as where there is an ``ignore_index``. False: those of
            items with ``labeled_slices`` or ``unlabeled_classes``.

    Returns:
        the unlabelled items, and the labelled ones without their masks; each image, or slice of one, once.

    Example:
        >>> from monai_sscm.data import unlabeled_items
        >>> items = [{"image": "a", "label": "a_mask"}, {"image": "b", "label": "b_mask", "labeled_slices": [3]}]
        >>> unlabeled_items({"labeled": items, "unlabeled": [{"image": "c"}]})
        [{'image': 'c'}, {'image': 'b'}]
    """
    items = {_name(item): dict(item) for item in datalist["unlabeled"]}
    for item in datalist["labeled"]:
        if labeled_too or not item.keys().isdisjoint(EXTRAS):
            items.setdefault(_name(item), {key: value for key, value in item.items() if key not in _OF_MASKS})
    return list(items.values())


def _name(item: Mapping[str, Any]) -> tuple[str, Any]:
    return str(item["image"]), item.get("slice")
