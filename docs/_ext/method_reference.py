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

"""``{methods}``: a table of the methods, from their files."""

from __future__ import annotations

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from monai_sscm.methods import METHODS, method_file


def _description(name: str) -> str:
    lines = method_file(name).read_text("utf-8").splitlines()
    return " ".join(line.removeprefix("# ") for line in lines if line.startswith("# "))


class MethodsDirective(SphinxDirective):
    """A line for each method: its name, title, and the comment at the top of its file."""

    def run(self) -> list[nodes.Node]:
        lines = ["| `--method` | title | what it does |", "|---|---|---|"]
        lines += [f"| `{name}` | {method.title} | {_description(name)} |" for name, method in METHODS.items()]
        container = nodes.Element()
        self.state.nested_parse(StringList(lines, "methods"), self.content_offset, container)
        return container.children


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("methods", MethodsDirective)
    return {"parallel_read_safe": True}
