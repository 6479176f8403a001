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


"""The command line of ``python -m monai.bundle run``: what was typed, and whether it has an effect."""

from __future__ import annotations

import ast
import difflib
import inspect
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

__all__ = ["MONAI_BUNDLE", "check_command_line", "command_line_words", "config_files", "other_overrides"]

#: how ``python -m monai.bundle`` is started: the end of its first word
MONAI_BUNDLE = ("monai", "bundle", "__main__.py")
# which of a bundle's files go on top of which; a file of one's own goes between
_LAYERS = {"train.yaml": 0, "inference.yaml": 0, "evaluate.yaml": 1, "multi_gpu_train.yaml": 2}
_LAYERS |= {"multi_gpu_evaluate.yaml": 2}


def check_command_line(argv: Sequence[str] | None = None) -> None:
    """
    Refuse an option of ``python -m monai.bundle run`` that the configuration has no value for, such as a misspelled
    one, which MONAI takes, and which has no effect; and files in an order in which one would undo another.

    Args:
        argv: the command line; None: this process's. That of another program passes.

    Raises:
        ValueError: when there is such an option, or order. An option that another refers to (``@name``) is none.
    """
    from monai.bundle import ConfigParser, run  # not at the top: commands that only name bundles are quick

    argv = sys.argv if argv is None else argv
    options = command_line_words(argv)
    paths = config_files(argv)
    if not paths:  # of another program, in MONAI's `args_file`, or left out
        return
    files = options["config_file"]
    empty = [name for name, word in options.items() if word == "None"]
    if empty:
        raise ValueError(f"MONAI leaves out `--{empty[0]} None`: give `--{empty[0]} null`, or leave it out.")
    layers = [_LAYERS.get(Path(path).name, 1) for path in paths]
    if layers != sorted(layers):
        wanted = [path for _, path in sorted(zip(layers, paths, strict=True), key=lambda pair: pair[0])]
        raise ValueError(f"Each configuration file goes on top of those before it: give them as {wanted}.")
    known = set(inspect.signature(run).parameters) | set(ConfigParser.load_config_files(paths))
    for option in options:
        name = re.split("::|#", option)[0]
        if name not in known and not any(f"@{name}" in word for word in argv):
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean `--{near[0]}`?" if near else "its values stand at the top of the file."
            raise ValueError(f"There is no `{name}` in {files}: {hint}")


def config_files(argv: Sequence[str] | None = None) -> list[str]:
    """
    The configuration files of ``python -m monai.bundle run``.

    Args:
        argv: the command line; None: this process's.

    Returns:
        their paths; none if this is another program.
    """
    files = command_line_words(argv).get("config_file", "")
    if files.startswith("["):
        return [str(path) for path in ast.literal_eval(files)]
    return files.split(",") if files else []


def command_line_words(argv: Sequence[str] | None = None) -> dict[str, str]:
    """The options of ``python -m monai.bundle run`` as they were typed; of another program none."""
    argv = sys.argv if argv is None else argv
    words: dict[str, str] = {}
    if Path(argv[0]).parts[-3:] != MONAI_BUNDLE:
        return words
    for word, following in zip(argv, [*argv[1:], ""], strict=True):
        if match := re.fullmatch(r"--?([A-Za-z][^=]*)(?:=(.*))?", word, re.DOTALL):
            words[match[1].replace("-", "_")] = following if match[2] is None else match[2]
    return words


def other_overrides(options: Mapping[str, Any], argv: Sequence[str] | None = None) -> dict[str, Any]:
    """
    What ``python -m monai.bundle run`` overrides besides the options, such as ``lr_scheduler#power``.

    Args:
        options: the options.
        argv: the command line; None: this process's.

    Returns:
        the values by name; what is no YAML, such as a reference (``@name``), as it was typed.
    """
    from monai.bundle import run

    arguments = set(inspect.signature(run).parameters)
    words = command_line_words(argv)
    return {name: _value(word) for name, word in words.items() if name not in options and name not in arguments}


def _value(word: str) -> Any:
    try:
        return yaml.safe_load(word)
    except yaml.YAMLError:
        return word
