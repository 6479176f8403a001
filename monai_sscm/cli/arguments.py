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
import difflib
import re
from collections.abc import Sequence
from typing import Any

__all__ = ["CommandParser", "add_command", "name_value_pair", "option_words", "positive_int"]

_OPTION = re.compile(r"--([A-Za-z][^=]*)(?:=(.*))?", re.DOTALL)


class CommandParser(argparse.ArgumentParser):
    """
    Parser of a command. With ``takes_options``, each ``--name value`` that is no argument of the command goes to
    ``options``, as a value of a configuration.

    Example:
        >>> from monai_sscm.cli.arguments import CommandParser
        >>> parser = CommandParser(allow_abbrev=False)
        >>> parser.takes_options = True
        >>> _ = parser.add_argument("folder")
        >>> parser.parse_args(["--max_epochs", "4", "data", "--amp=true"])
        Namespace(folder='data', options={'max_epochs': '4', 'amp': 'true'})
    """

    takes_options = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, see ``argparse.ArgumentParser``."""
        if not self.takes_options or args is None:
            namespace, rest = super().parse_known_args(args, namespace)
            for word in rest:
                near = difflib.get_close_matches(word.partition("=")[0], self._option_string_actions, 1)
                if word.startswith("--") and near:
                    self.error(f"there is no {word.partition('=')[0]}: did you mean {near[0]}?")
            return namespace, rest
        own: list[str] = []
        others: list[str] = []
        words = list(args)
        while words:
            word = words.pop(0)
            match = _OPTION.fullmatch(word)
            if match is None or f"--{match[1].replace('-', '_')}" in self._option_string_actions:
                own.append(word if match is None else word.replace(match[1], match[1].replace("-", "_"), 1))
            else:
                others.append(word)
                if match[2] is None and words and not words[0].startswith("--"):
                    others.append(words.pop(0))
        namespace, rest = super().parse_known_args(own, namespace)
        try:
            namespace.options = option_words(others)
        except ValueError as e:
            self.error(str(e))
        return namespace, rest


def add_command(subparsers: Any, name: str, description: str, options: str | None = None) -> CommandParser:
    """
    Add a command whose help shows the defaults.

    Args:
        subparsers: what ``ArgumentParser.add_subparsers`` returned.
        name: what the user types.
        description: what the command does, in a line.
        options: what ``--name value`` may name besides the command's own arguments; see :py:class:`CommandParser`.
            None: nothing.

    Returns:
        the command's parser.
    """
    parser: CommandParser = subparsers.add_parser(
        name,
        help=description,
        description=description,
        epilog=options and f"--name value: {options}",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    parser.takes_options = options is not None
    return parser


def positive_int(text: str) -> int:
    """
    Read a number that is 1 or more.

    Args:
        text: what the user typed.

    Raises:
        ArgumentTypeError: when it is less, or no number.

    Example:
        >>> from monai_sscm.cli.arguments import positive_int
        >>> positive_int("3")
        3
    """
    number = int(text) if text.strip().isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of 1 or more, got {text!r}")
    return number


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


def option_words(words: Sequence[str]) -> dict[str, str]:
    """
    Read ``--name value`` or ``--name=value``, as many as there are.

    Args:
        words: what the user typed behind the command's own arguments.

    Returns:
        values by name.

    Raises:
        ValueError: when a word has no ``--`` before it, or a name no value.

    Example:
        >>> from monai_sscm.cli.arguments import option_words
        >>> option_words(["--max_epochs", "4", "--amp=true"])
        {'max_epochs': '4', 'amp': 'true'}
    """
    values: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        match = _OPTION.fullmatch(word)
        if match is None:
            raise ValueError(
                f"{word!r} belongs to no option: values are given as --name value, such as --max_epochs 60."
            )
        value = match[2]
        if value is None:
            if not rest or rest[0].startswith("--"):
                raise ValueError(f"{word!r} has no value: give values as --name value, such as --max_epochs 60.")
            value = rest.pop(0)
        name = match[1].replace("-", "_")
        if name in values:
            raise ValueError(f"`--{name}` is given twice: give it once.")
        values[name] = value
    return values
