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

"""What an option may be: functions that read a value, or its text from the command line, or raise what it must be."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

__all__ = [
    "Wrong",
    "boolean",
    "choice",
    "device",
    "list_of",
    "number",
    "pasted_classes",
    "path",
    "paths",
    "pattern",
    "span",
    "stride",
    "text",
]


class Wrong(Exception):
    """What an option must be, where it is something else."""


def number(kind: type, low: float, high: float = math.inf, above: bool = False, below: bool = False) -> Callable:
    """Reads a number from ``low``, excluded if it must lie ``above``, to ``high``, excluded if ``below``."""
    what = "a whole number" if kind is int else "a number"
    if high < math.inf:
        what += f" from {low:g}{' (excluded)' * above} to {high:g}{' (excluded)' * below}"
    elif low > -math.inf:
        what += f" above {low:g}" if above else f" of at least {low:g}"

    def read(value: Any) -> Any:
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise Wrong(what) from None
        inside = (number > low if above else number >= low) and (number < high if below else number <= high)
        if isinstance(value, bool) or not math.isfinite(number) or not inside or kind(number) != number:
            raise Wrong(what)
        return kind(number)

    return read


def choice(*choices: str) -> Callable:
    def read(value: Any) -> str:
        if str(value) not in choices:
            raise Wrong(f"one of {', '.join(map(repr, choices))}")
        return str(value)

    return read


def boolean(value: Any) -> bool:
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    if not isinstance(value, bool):
        raise Wrong("true or false")
    return value


def text(value: Any) -> str:
    # the command line makes a number of a name that looks like one
    text = str(value)
    if isinstance(value, bool) or not isinstance(value, (str, int, Path)) or not text.strip() or "\n" in text:
        raise Wrong("a text")
    return text


def path(value: Any) -> str:
    try:
        return text(value)
    except Wrong:
        raise Wrong("the path of a file or folder") from None


def pattern(value: Any) -> str:
    what = 'a regular expression for the start of names, with the patient in parentheses, such as "(p[0-9]+)_"'
    try:
        if re.compile(text(value)).groups < 1:
            raise Wrong(what)
    except (re.error, Wrong) as e:
        raise Wrong(what + (f" ({e})" if isinstance(e, re.error) else "")) from None
    return str(value)


def _items(value: Any) -> list[Any]:
    """A sequence, or the text of one, ``[a, b]`` or ``a,b``, as a list; one item alone as a list of it."""
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            try:
                value = yaml.safe_load(text)
            except yaml.YAMLError:
                value = None
            if not isinstance(value, list):
                raise Wrong("")
        else:
            value = [item.strip() for item in text.split(",")]
    if isinstance(value, (int, float)):
        value = [value]
    if not isinstance(value, Sequence):
        raise Wrong("")
    return list(value)


def list_of(what: str, read_item: Callable, shortest: int = 1, longest: int = 10_000, unique: bool = False) -> Callable:
    def read(value: Any) -> list[Any]:
        try:
            items = [read_item(item) for item in _items(value)]
        except Wrong:
            raise Wrong(what) from None
        if not shortest <= len(items) <= longest or (unique and len(set(items)) != len(items)):
            raise Wrong(what)
        return items

    return read


def pasted_classes(value: Any) -> Any:
    if value in ("foreground", "random_half"):
        return value
    what = "a list of different class indices, 'foreground' or 'random_half'"
    return list_of(what, number(int, 0), unique=True)(value)


def device(value: Any) -> torch.device:
    try:
        device = torch.device(value)
    except Exception:  # of several kinds
        raise Wrong("a device of PyTorch, such as 'cpu' or 'cuda:0'") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise Wrong(f"a device that is there: PyTorch finds {torch.cuda.device_count()} CUDA devices")
    try:
        if device.type == "meta":
            raise ValueError
        torch.empty(1, device=device)
    except Exception:  # each backend's own
        raise Wrong("a device that PyTorch can use here") from None
    return device


def paths(what: str) -> Callable:
    def read(value: Any) -> Any:
        is_list = isinstance(value, str) and value.strip().startswith("[") and not Path(value).exists()
        is_list = is_list or isinstance(value, (list, tuple))
        return list_of(what, path)(value) if is_list else path(value)

    return read


def span(what: str, read_end: Callable, equal: bool = False) -> Callable:
    """Two values, the lower one first, or of one size if they may be ``equal``."""

    def read(value: Any) -> list[Any]:
        low, high = list_of(what, read_end, 2, 2)(value)
        if not (low <= high if equal else low < high):
            raise Wrong(what)
        return [low, high]

    return read


def stride(value: Any) -> Any:
    """A number, or one for each axis."""
    axes = list_of("a list of 2 or 3 whole numbers of at least 1", number(int, 1), 2, 3)
    return axes(value) if isinstance(value, (list, tuple)) else number(int, 1)(value)
