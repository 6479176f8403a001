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

"""Pages that live elsewhere in the repository, copied before the site is read: notebooks, model cards."""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

# of CHANGELOG.md and of benchmarks/README.md, which stands in results/
_LINKS = (
    ("benchmarks/results/reader_matrix.md", "reference/reader-matrix.md"),
    ("results/reader_matrix.md", "../reference/reader-matrix.md"),
    ("../docs/", "../"),
)


def _copy(app: Sphinx, config: Config) -> None:
    root = Path(app.srcdir).parent
    for notebook in sorted((root / "tutorials").glob("*.ipynb")):
        _write(Path(app.srcdir) / "tutorials" / notebook.name, notebook.read_bytes())


def _write(path: Path, content: bytes) -> None:
    if not path.is_file() or path.read_bytes() != content:  # what did not change is not read again
        path.write_bytes(content)


def _relink(app: Sphinx, relative_path: Path, parent_name: str, content: list[str]) -> None:
    """Links of an included page are of its own folder in the repository."""
    for in_repository, in_site in _LINKS:
        content[0] = content[0].replace(f"]({in_repository}", f"]({in_site}")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("config-inited", _copy)
    app.connect("include-read", _relink)
    return {"parallel_read_safe": True}
