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


"""The configuration that bundles are written from, and what writes it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path

from monai_sscm.methods import METHODS, method_file

__all__ = ["BUNDLES", "KINDS", "merge_configs", "render_configs", "set_values"]

_ROOT = Path(__file__).parent
#: the kinds of input, and the layers of templates of each, each of which overrides those before it
KINDS: dict[str, tuple[str, ...]] = {
    "pictures": ("base", "pictures"),
    "volumes": ("base", "volumes"),
    "slices": ("base", "slices"),
    "ct_slices": ("base", "slices", "ct_slices"),
}
#: the bundles that come with the package, and the kind of input that each takes
BUNDLES: dict[str, str] = {
    "chase_vessel_segmentation": "pictures",
    "covid19_ct_segmentation": "ct_slices",
    "hippocampus_mr_segmentation": "volumes",
}
# quoted, a list, or plain up to a comment
_VALUE = r"\"[^\"\n]*\"|'[^'\n]*'|\[[^\]\n]*\]|[^#\n]*?"
_WIDTH = 120
_REST = "# --- what follows is rarely changed"


def render_configs(name: str) -> dict[str, str]:
    """
    Write the configuration of a bundle that comes with the package, or of a kind of input, from its templates.

    For each file, the entries of ``base`` are overridden and extended by those of the kind of input, and these by those
    of the bundle. An entry is a key of the top level with all below it and the comment right above it, and is taken as
    it is written. A new one stands behind the entry before it in its own file, or behind the one that
    ``# after <key>`` above it names. Comments above a blank line at the top of a file take the place of the first line.
    Then come the methods, of :py:mod:`monai_sscm.methods`, and the check of all values.

    Args:
        name: name of the bundle, of :py:data:`BUNDLES`, or of the kind, of :py:data:`KINDS`.

    Returns:
        the files' contents by their names.

    Example:
        >>> from monai_sscm.templates import render_configs
        >>> sorted(render_configs("chase_vessel_segmentation"))[:3]
        ['evaluate.yaml', 'federated.yaml', 'inference.yaml']
    """
    layers = KINDS[name] if name in KINDS else (*KINDS[BUNDLES[name]], name)
    files = {}
    for path in sorted((_ROOT / "base").iterdir()):
        text = path.read_text("utf-8")
        for layer in layers[1:]:
            over = _ROOT / layer / path.name
            if over.is_file():
                text = merge_configs(text, over.read_text("utf-8"))
        if path.name == "train.yaml":
            text = _with_methods(text)
        if path.name in ("train.yaml", "inference.yaml", "evaluate.yaml"):
            text = _with_options(text, "+options" if path.name == "evaluate.yaml" else "options")
        files[path.name] = text
    return files


def set_values(text: str, values: Mapping[str, str], comments: Mapping[str, str] | None = None) -> str:
    """
    Set values at the top level of a configuration. The comment behind a value on one line stays.

    Args:
        text: the configuration.
        values: YAML of the values by name; one that the configuration does not have goes to its end.
        comments: comments by the values' names, in place of those behind them.

    Example:
        >>> from monai_sscm.templates import set_values
        >>> set_values("zoom: 0.5    # a factor", {"zoom": "1.0"})
        'zoom: 1.0    # a factor'
        >>> set_values("zoom: 0.5    # a factor", {"zoom": "1.0"}, {"zoom": "seen as stored"})
        'zoom: 1.0                    # seen as stored'
    """
    for name, value in values.items():
        match = re.search(rf"^{re.escape(name)}: *({_VALUE})(?: +#.*| *)$", text, re.MULTILINE)
        comment = (comments or {}).get(name)
        entry = f"{name}: {value}" if comment is None else _commented(f"{name}: {value}", comment)
        if match and not text[match.end() :].startswith(("\n ", "\n-")):
            if comment is None:
                text = text[: match.start(1)] + value + text[match.end(1) :]
            else:
                text = text[: match.start()] + entry + text[match.end() :]
        elif re.search(rf"^{re.escape(name)}:", text, re.MULTILINE):  # a value of several lines
            text = merge_configs(text, f"{entry}\n")
        else:
            text += f"{entry}\n"
    return text


def _commented(line: str, comment: str) -> str:
    """A line with a comment behind it, or above it where it would be too long."""
    behind = f"{line:<27}  # {comment}"
    if len(behind) <= _WIDTH:
        return behind
    return "\n".join([*(f"# {part}" for part in textwrap.wrap(comment, _WIDTH - 2)), line])


def _entries(text: str) -> list[tuple[str, str]]:
    """The entries of a configuration by their keys, in order; blank lines and headings have an empty key."""
    entries: list[tuple[str, str]] = []
    comment = ""
    for line in text.splitlines(keepends=True):
        key = re.match(r"([A-Za-z_+][\w#+]*):", line)
        if key:
            entries.append((key[1], comment + line))
            comment = ""
        elif line.startswith((" ", "-")):
            entries[-1] = (entries[-1][0], entries[-1][1] + comment + line)
            comment = ""
        elif line.startswith("# ---") or not line.strip():
            entries += [("", comment)] * bool(comment) + [("", line)]
            comment = ""
        else:
            comment += line
    return entries


def merge_configs(text: str, over: str) -> str:
    """
    A configuration with the entries of another in place of its own, see :py:func:`render_configs`.

    Args:
        text: the configuration.
        over: the other.

    Example:
        >>> from monai_sscm.templates import merge_configs
        >>> print(merge_configs("a: 1\\nb:\\n- 2\\n", "b: 3\\nc: 4\\n"), end="")
        a: 1
        b: 3
        c: 4
    """
    title = re.match(r"((?:#.*\n)+)\n", over)
    if title:
        text, over = title[1] + text.partition("\n")[2], over[title.end() :]
    entries = _entries(text)
    at = -1
    for key, entry in _entries(over):
        keys = [known for known, _ in entries]
        after = re.match(r"# after (\w+)\n", entry)
        if after:
            entry, at = entry[after.end() :], keys.index(after[1])
        if key in keys:
            at = keys.index(key)
            entries[at] = (key, entry)
        elif key:
            at += 1
            entries.insert(at, (key, entry))
    return "".join(entry for _, entry in entries)


def _with_methods(text: str) -> str:
    """The configuration with all methods in it, so that a copied bundle does not change when the package does."""
    lines = ["methods:"]
    for name in METHODS:
        comment: list[str] = []
        entry: list[str] = []
        for line in method_file(name).read_text("utf-8").splitlines():
            (comment if line.startswith("#") else entry).append(line)
        lines += [f"  {line}" for line in comment] + [f"  {name}:"] + [f"    {line}" for line in entry]
    return merge_configs(text, "\n".join(lines) + "\n")


def _with_options(text: str, key: str) -> str:
    """The configuration with ``key``, which checks and converts all values that stand above its rarely changed part."""
    top = text[: text.index(_REST)]
    names = [name for name, _ in _entries(top) if name not in ("", "imports", "run_name")]
    lines = [f"{key}:  # the values above, checked and in their types: all that follows takes them from here"]
    if key == "options":
        lines.append("  _target_: monai_sscm.options.Options")
        names += ["size_multiple"] * ("\nsize_multiple:" in text)
    lines += [f"  {name}: '@{name}'" for name in names]
    heading = re.search(rf"{_REST}.*\n", text)
    assert heading is not None
    return text[: heading.end()] + "\n".join(lines) + "\n" + text[heading.end() :]
