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


"""Numbers in sentences."""

from __future__ import annotations

from typing import Any

__all__ = ["axis_names", "by", "counted", "round_minutes"]


def axis_names(kind: str) -> tuple[str, ...]:
    """What the axes of an image are called, by the kind of templates."""
    return ("up-down", "left-right") if kind == "pictures" else ("left-right", "front-back", "feet-head")


def counted(count: int, what: str) -> str:
    """A number of things."""
    return f"{count} {what}{'s' * (count != 1)}"


def by(numbers: Any, between: str = " x ") -> str:
    """Numbers in a row."""
    return between.join(f"{x:.3g}" if isinstance(x, float) else str(x) for x in numbers)


def round_minutes(count: float) -> str:
    """Minutes to one figure or two."""
    if count < 1.5:
        return "a minute"
    return f"{count:.0f} minutes" if count < 10 else f"{5 * round(count / 5)} minutes"
