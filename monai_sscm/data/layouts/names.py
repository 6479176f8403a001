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

"""Names of classes and channels, as the Decathlon's and nnU-Net's ``dataset.json`` give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["class_names", "described"]


def described(description: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a description says of a :py:class:`monai_sscm.data.layouts.Layout`; None: there is no description."""
    return {
        "class_names": class_names(description),
        "channel_names": _channel_names(description),
        "ignore_index": _ignored_value(description),
    }


def class_names(description: Mapping[str, Any] | None) -> list[str] | None:
    """
    Names of the classes, background first; None where there are none, or some are of no single class.

    Example:
        >>> from monai_sscm.data.layouts.names import class_names
        >>> class_names({"labels": {"0": "background", "1": "vessel"}})
        ['background', 'vessel']
        >>> class_names({"labels": {"background": 0, "vessel": 1, "ignore": 2}})
        ['background', 'vessel']
    """
    names = _by_index((description or {}).get("labels"))
    ignored = _ignored_value(description)
    if ignored is not None:
        names.pop(ignored, None)
    in_order = [names[i] for i in sorted(names)]
    usable = sorted(names) == list(range(len(names))) and len(set(in_order)) == len(names) >= 2
    return in_order if usable else None


def _channel_names(description: Mapping[str, Any] | None) -> list[str] | None:
    """Names of the channels; None where there are none."""
    description = description or {}
    names = _by_index(description.get("channel_names") or description.get("modality"))
    return [names[i] for i in sorted(names)] or None


def _ignored_value(description: Mapping[str, Any] | None) -> int | None:
    """What ``ignore`` among nnU-Net's labels is; None where there is none."""
    labels = (description or {}).get("labels")
    value = labels.get("ignore") if isinstance(labels, dict) else None
    return value if isinstance(value, int) else None


def _by_index(names: Any) -> dict[int, str]:
    """From ``{"0": name}``, ``{name: 0}`` or a list of names; empty where a name stands for several indices."""
    if isinstance(names, list):
        return {i: str(name) for i, name in enumerate(names)}
    found: dict[int, str] = {}
    for key, value in names.items() if isinstance(names, dict) else ():
        if str(key).isdecimal() and isinstance(value, str):
            found[int(key)] = value
        elif str(value).isdecimal():
            found[int(value)] = str(key)
        else:
            return {}
    return found
