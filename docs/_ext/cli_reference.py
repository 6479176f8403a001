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

"""``{cli}``: what the commands' own parsers say, each command a section."""

from __future__ import annotations

import argparse
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from monai_sscm.cli.main import _parser


def _commands() -> dict[str, argparse.ArgumentParser]:
    (subparsers,) = (action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(subparsers.choices)


def _name(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{action.metavar or action.dest}`"
    value = "" if action.nargs == 0 else f" {_placeholder(action)}"
    return ", ".join(f"`{option}{value}`" for option in action.option_strings)


def _placeholder(action: argparse.Action) -> str:
    metavar = str(action.metavar or action.dest.upper())
    return f"{metavar} ..." if action.nargs == "+" else metavar


def _meaning(action: argparse.Action) -> str:
    text = (action.help or "").replace("|", "\\|")
    said = [f"one of {', '.join(f'`{choice}`' for choice in action.choices)}"] if action.choices else []
    if action.required and action.option_strings:
        said.append("required")
    elif action.default not in (None, argparse.SUPPRESS, [], False):
        default = " ".join(map(str, action.default)) if isinstance(action.default, list) else action.default
        said.append(f"default `{default}`")
    return f"{text} ({'; '.join(said)})" if said else text


class CliDirective(SphinxDirective):
    """A section for each command: usage, arguments, and what ``--name value`` may name."""

    def run(self) -> list[nodes.Node]:
        lines: list[str] = []
        for name, parser in _commands().items():
            description = parser.description or ""
            usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
            lines += [f"## {name}", "", f"{description[:1].upper()}{description[1:]}.", "", "```text", usage, "```", ""]
            lines += ["| argument | meaning |", "|---|---|"]
            actions: list[Any] = [a for a in parser._actions if not isinstance(a, argparse._HelpAction)]
            lines += [f"| {_name(action)} | {_meaning(action)} |" for action in actions]
            if parser.epilog:
                lines += ["", f"`--name value`: {parser.epilog.removeprefix('--name value: ')}."]
            lines.append("")
        container = nodes.Element()
        self.state.nested_parse(StringList(lines, "monai_sscm.cli"), self.content_offset, container, match_titles=True)
        return container.children


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("cli", CliDirective)
    return {"parallel_read_safe": True}
