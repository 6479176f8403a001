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

"""``{options} train.yaml``: a configuration's values, from the templates, and their ranges, as declared."""

from __future__ import annotations

import re

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from monai_sscm.options import OPTIONS
from monai_sscm.templates import KINDS, render_configs

_ENTRY = re.compile(r"(?P<name>\w+): *(?P<value>\"[^\"]*\"|'[^']*'|\[.*?\](?= +#|$)|.*?)(?: +# (?P<comment>.*))?")
_HEADING = re.compile(r"# --- (.*?) -+")
_COMPUTED = "computed"


class _Value:
    """A value of a configuration: its meaning, and its default in each kind of template."""

    def __init__(self, heading: str, comment: str) -> None:
        self.heading, self.comment = heading, comment
        self.defaults: dict[str, str] = {}

    def default(self) -> str:
        if len(set(self.defaults.values())) == 1 and len(self.defaults) == len(KINDS):
            return next(iter(self.defaults.values()))
        kinds: dict[str, list[str]] = {}
        for kind, default in self.defaults.items():
            kinds.setdefault(default, []).append(kind)
        return "; ".join(f"{default} ({', '.join(of)})" for default, of in kinds.items())


def _values(file_name: str) -> dict[str, _Value]:
    found: dict[str, _Value] = {}
    for kind in KINDS:
        heading, above = "", ""
        for line in render_configs(kind)[file_name].splitlines():
            title, entry = _HEADING.match(line), _ENTRY.fullmatch(line)
            if title and "rarely changed" in title[1]:
                break
            if title:
                heading, above = title[1], ""
            elif line.startswith("# "):
                above = line[2:]
            elif entry and entry["name"] != "imports":
                value = found.setdefault(entry["name"], _Value(heading, entry["comment"] or above))
                computed = entry["value"].strip("\"'").startswith(("$", "@"))
                value.defaults[kind] = _COMPUTED if computed else f"`{entry['value']}`"
                above = ""
    return found


def _range(name: str) -> str:
    """What a value must be, as the error says that it raises."""
    if name not in OPTIONS:
        return ""
    try:
        OPTIONS[name](name, object())
    except ValueError as e:
        match = re.fullmatch(r"`\w+` must be (.*), got .*", str(e), re.DOTALL)
        assert match is not None, e
        return match[1]
    raise AssertionError(f"{name} takes anything")


class OptionsDirective(SphinxDirective):
    """A table for each heading of a configuration file."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        lines: list[str] = []
        heading = None
        for name, value in _values(self.arguments[0]).items():
            if value.heading != heading:
                heading = value.heading
                title = heading or "what for"
                lines += ["", f"## `{self.arguments[0]}`: {title}", ""]
                lines += ["| value | default | meaning | may be |", "|---|---|---|---|"]
            cells = [f"`{name}`", value.default(), value.comment, _range(name)]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        container = nodes.Element()
        self.state.nested_parse(StringList(lines, "templates"), self.content_offset, container, match_titles=True)
        return container.children


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("options", OptionsDirective)
    return {"parallel_read_safe": True}
