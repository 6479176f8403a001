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

"""What the parsers of the commands share."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add_command", "name_value_pair", "positive_int"]


def add_command(subparsers: Any, name: str, description: str) -> argparse.ArgumentParser:
    """
    Add a command whose help shows the defaults.

    Args:
        subparsers: what ``ArgumentParser.add_subparsers`` returned.
        name: what the user types.
        description: what the command does, in a line.

    Returns:
        the command's parser.
    """
    return subparsers.add_parser(
        name, help=description, description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )


def positive_int(text: str) -> int:
    """
    Read a number that is 1 or more.

    Args:
        text: what the user typed.

    Raises:
        ArgumentTypeError: when it is less.

    Example:
        >>> from monai_sscm.cli.arguments import positive_int
        >>> positive_int("3")
        3
    """
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {text}")
    return int(text)


def name_value_pair(text: str) -> tuple[str, str]:
    """
    Read ``NAME=VALUE``.

    Args:
        text: what the user typed.

    Raises:
        ArgumentTypeError: when it has no ``=``.

    Example:
        >>> from monai_sscm.cli.arguments import name_value_pair
        >>> name_value_pair("max_epochs=90")
        ('max_epochs', '90')
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, got {text!r}")
    return name, value
