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

"""Warnings about figures that stay bad."""

from __future__ import annotations

import warnings

__all__ = ["Alarm"]


class Alarm:
    """
    Warns when something was bad at several readings in a row; once, and again only after it got better in between.

    One bad batch says little, and the first steps of a training always look bad.

    Args:
        patience: readings in a row.

    Example:
        >>> import warnings
        >>> from monai_sscm.handlers.alarm import Alarm
        >>> alarm = Alarm(patience=2)
        >>> with warnings.catch_warnings(record=True) as said:
        ...     for bad in (True, False, True, True, True):
        ...         alarm("accuracy", bad, "The discriminator wins.")
        >>> [str(warning.message) for warning in said]
        ['The discriminator wins.']
    """

    def __init__(self, patience: int) -> None:
        if patience < 1:
            raise ValueError(f"`patience` counts readings and must be at least 1, got {patience!r}.")
        self.patience = patience
        self._in_a_row: dict[str, int] = {}

    def __call__(self, name: str, bad: bool, advice: str) -> None:
        """
        Args:
            name: what is read.
            bad: whether it is bad now.
            advice: the warning: what is wrong and what to do.
        """
        self._in_a_row[name] = self._in_a_row.get(name, 0) + 1 if bad else 0
        if self._in_a_row[name] == self.patience:
            warnings.warn(advice, stacklevel=2)
