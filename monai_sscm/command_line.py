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


"""The command line that runs a configuration: what was typed, and whether it has an effect."""

from __future__ import annotations

import ast
import difflib
import hashlib
import inspect
import json
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

__all__ = [
    "MONAI_BUNDLE",
    "as_command_line",
    "check_command_line",
    "command_line_words",
    "config_files",
    "configured_values",
    "learned_parts",
    "no_such_option",
    "other_overrides",
    "read_value",
    "refuse_text_for_part",
]

#: how ``python -m monai.bundle`` is started: the end of its first word
MONAI_BUNDLE = ("monai", "bundle", "__main__.py")
# which of a bundle's files go on top of which; a file of one's own goes between
_LAYERS = {"train.yaml": 0, "inference.yaml": 0, "evaluate.yaml": 1, "multi_gpu_train.yaml": 2}
_LAYERS |= {"multi_gpu_evaluate.yaml": 2}

# parts that are text, though an expression makes them
_TEXTS = ("bundle_root", "run_name")

# of a configuration of a training, what changes no weights
_NOT_LEARNED = frozenset(
    (
        *("imports", "options", "methods", "bundle_name", "bundle_root", "run_name", "rank", "show", "summary_writer"),
        *("progress", "checkpoint_handler", "run_bundle_writer", "not_initialized", "validate", "restore", "inferer"),
        *("start_processes", "end_processes", "initialize", "run", "finalize"),
    )
)
# what stands for the command line while another command runs a configuration in this process
_words: dict[str, str] | None = None


@contextmanager
def as_command_line(files: Sequence[str | Path], options: Mapping[str, Any]) -> Iterator[None]:
    """
    For a command that runs a configuration in this process: within it, the functions here answer as if
    ``python -m monai.bundle run`` had been typed with these files and options.

    Args:
        files: the configuration files.
        options: the options.

    Example:
        >>> from monai_sscm.command_line import as_command_line, config_files
        >>> with as_command_line(["configs/train.yaml"], {"seed": 1}):
        ...     print(config_files())
        ['configs/train.yaml']
    """
    global _words
    before = _words
    paths = [str(path) for path in files]
    _words = {"config_file": paths[0] if len(paths) == 1 else str(paths)}
    _words |= {name: str(value) for name, value in options.items()}
    try:
        yield
    finally:
        _words = before


def no_such_option(name: str, config: Mapping[str, Any] | Collection[str], where: str) -> ValueError:
    """
    The error for an option that there is not.

    Args:
        name: the option.
        config: the configuration, whose ``options`` are those to be set; or their names.
        where: where they stand.

    Example:
        >>> from monai_sscm.command_line import no_such_option
        >>> no_such_option("zoon", ["zoom", "seed"], "train.yaml")
        ValueError('There is no `zoon` in train.yaml: did you mean `--zoom`?')
    """
    sections = [config[key] for key in ("options", "+options") if key in config] if isinstance(config, Mapping) else []
    known = {option for section in sections for option in section if option != "_target_"} or set(config)
    near = difflib.get_close_matches(name, sorted(known), 1)
    hint = f"did you mean `--{near[0]}`?" if near else "its values stand at the top of the file."
    return ValueError(f"There is no `{name}` in {where}: {hint}")


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
    config = ConfigParser.load_config_files(paths)
    known = set(inspect.signature(run).parameters) | set(config)
    for option in options:
        name = re.split("::|#", option)[0]
        if name not in known and not any(f"@{name}" in word for word in options.values()):
            raise no_such_option(name, config, files)
    for name, word in options.items():
        refuse_text_for_part(name, word, config, files)


def refuse_text_for_part(name: str, word: str, config: Mapping[str, Any], where: str) -> None:
    """
    Refuse text in place of a whole part of a configuration, such as its ``datalist``, from which nothing can be made.

    Args:
        name: what is replaced.
        word: as it was typed.
        config: the configuration.
        where: where it stands.

    Raises:
        ValueError: then. An expression (``$``) or a reference (``@``) passes.
    """
    part = config.get(name)
    is_part = isinstance(part, (dict, list)) or (isinstance(part, str) and part.startswith(("$", "@")) and "@" in part)
    if not is_part or name in _TEXTS or any(name in config.get(key, ()) for key in ("options", "+options")):
        return
    if isinstance(read_value(word), str) and not word.strip().startswith(("$", "@")):
        raise ValueError(
            f"`{name}` is a part of the configuration and no option: change it in {where}, or give an expression that "
            "begins with $."
        )


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
    if argv is None and _words is not None:
        return dict(_words)
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
    return {name: read_value(word) for name, word in words.items() if name not in options and name not in arguments}


def configured_values(names: Iterable[str], argv: Sequence[str] | None = None) -> dict[str, Any]:
    """
    Values of the configuration files, without what the command line overrides.

    Args:
        names: names of values, with ``#`` or ``::`` before those further down, such as ``lr_scheduler#power``.
        argv: the command line; None: this process's.

    Returns:
        the values by name, as they stand in the files, None for one that they do not have; none at all where this is
        another program than ``python -m monai.bundle run``, whose values are not known.
    """
    from monai.bundle import ConfigParser

    names, paths = list(names), config_files(argv)
    if not names or not paths:
        return {}
    parser = ConfigParser(ConfigParser.load_config_files(paths))
    return {name: parser[name] if name in parser else None for name in names}


def learned_parts(method: str, argv: Sequence[str] | None = None) -> dict[str, str]:
    """
    Marks of the parts of a configuration that say what is learned and how, such as ``loss``, with what the command line
    overrides: of all at its top level but the options, which are compared by themselves, and what only shows, scores or
    saves.

    Args:
        method: the method that is trained; the others may change.
        argv: the command line; None: this process's.

    Returns:
        by the names of the parts a mark of each, 8 hexadecimal digits; none at all where this is another program than
        ``python -m monai.bundle run``.
    """
    from monai.bundle import ConfigParser

    paths = [path for path in config_files(argv) if Path(path).name != "multi_gpu_train.yaml"]
    if not paths:
        return {}
    parser = ConfigParser(ConfigParser.load_config_files(paths))
    config = parser.get()
    options = set(config.get("options", {}))
    for name, value in other_overrides(dict.fromkeys(options), argv).items():
        parser[name] = value
    methods = config.get("methods") or {}
    parts = {name: part for name, part in config.items() if name not in options | _NOT_LEARNED and name != "train"}
    parts |= {f"train#{name}": part for name, part in (config.get("train") or {}).items() if name != "handlers"}
    parts |= {f"methods#{name}": methods[name] for name in _with_referred(method, methods)}
    return {name: _digest(part) for name, part in parts.items()}


def _with_referred(method: str, methods: Mapping[str, Any]) -> list[str]:
    """A method, and those that it is made of."""
    found, left = [], [method]
    while left:
        name = left.pop()
        if name in methods and name not in found:
            found.append(name)
            left += re.findall(r"@methods(?:#|::)(\w+)", str(methods[name]))
    return found


def _digest(part: Any) -> str:
    text = json.dumps(part, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=4).hexdigest()


def read_value(word: str) -> Any:
    """
    A value as it stands in a configuration.

    Args:
        word: as it was typed.

    Returns:
        the value; what is no YAML, such as a reference (``@name``), as it was typed.

    Example:
        >>> from monai_sscm.command_line import read_value
        >>> read_value("[32, 32]"), read_value("@zoom")
        ([32, 32], '@zoom')
    """
    try:
        return yaml.safe_load(word)
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: of a date that there is not
        return word
