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


"""Bad files, told at once instead of one a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Faults"]

_TOLD = 5


class Faults:
    """
    Errors of up to five files, after which no more are looked at.

    Example:
        >>> from monai_sscm.planning.faults import Faults
        >>> faults = Faults()
        >>> [faults.look(int, text) for text in ("1", "one", "two")]
        [1, None, None]
        >>> faults.tell()
        Traceback (most recent call last):
        ValueError: There are 2 faults:
        - invalid literal for int() with base 10: 'one'
        - invalid literal for int() with base 10: 'two'
    """

    def __init__(self) -> None:
        self.found: dict[str, OSError | ValueError] = {}

    def look(self, function: Callable[..., Any], *args: Any) -> Any:
        """What a function returns; None where it raises an error, which is kept, or where there are enough of them."""
        if len(self.found) < _TOLD:
            try:
                return function(*args)
            except (OSError, ValueError) as e:
                self.found.setdefault(str(e), e)
        return None

    def tell(self) -> None:
        """
        Raises:
            OSError: when some files are missing or damaged, and nothing else is wrong.
            ValueError: when there are others.
        """
        errors = list(self.found.values())
        if len(errors) == 1:
            raise errors[0]
        if errors:
            text = f"There are {len(errors)} faults{', or more' * (len(errors) == _TOLD)}:"
            kind = OSError if all(isinstance(e, OSError) for e in errors) else ValueError
            raise kind("\n- ".join([text, *self.found]))
