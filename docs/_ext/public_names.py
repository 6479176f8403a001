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

"""
Cross-references by what they name, not by how they spell it.

What a docstring or a type names is imported. A class of this package leads to where its public name is documented,
whichever module defines it; one of another package is left as text. What cannot be imported, or is ours and not
documented, stays unresolved, which ``-n -W`` turns into an error.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

_OURS = "monai_sscm"
# what is imported for type checkers alone
_TYPES = {
    "ConfigWorkflow": "monai.bundle.ConfigWorkflow",
    "SummaryWriter": "torch.utils.tensorboard.SummaryWriter",
}


def _find(name: str) -> tuple[bool, Any]:
    """Whether ``name`` can be imported, and what it is."""
    parts = _TYPES.get(name, name).split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:end]))
        except ImportError:
            continue
        try:
            for part in parts[end:]:
                found = getattr(found, part)
        except AttributeError:
            return False, None
        return True, found
    return False, None


def _public_name(env: BuildEnvironment, found: Any) -> str | None:
    """The name under which an object of ours is documented."""
    documented = env.get_domain("py").objects  # type: ignore[attr-defined]
    module, qualname = getattr(found, "__module__", None), getattr(found, "__qualname__", None)
    if module is None or qualname is None:
        return None
    parts = module.split(".")
    for end in range(len(parts), 0, -1):
        name = f"{'.'.join(parts[:end])}.{qualname}"
        if name in documented:
            return name
    return None


def _spellings(target: str, package: str | None) -> Iterator[str]:
    """The name as it stands, and as a module of the package sees it, since types are spelled as they are imported."""
    yield target
    for module in sorted(sys.modules):
        if package and (module == package or module.startswith(f"{package}.")):
            yield f"{module}.{target}"
    yield f"typing.{target}"


def _resolve(app: Sphinx, env: BuildEnvironment, node: Any, contnode: nodes.Element) -> nodes.Node | None:
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    if target.rpartition(".")[2].startswith("_"):  # not public: nothing to lead to
        return contnode
    for name in _spellings(target, node.get("py:module")):
        is_there, found = _find(name)
        if not is_there:
            continue
        if not _is_ours(found):
            return contnode
        public = _public_name(env, found)
        if public is not None:
            domain = env.get_domain("py")
            return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", public, node, contnode)
    return None


def _is_ours(found: Any) -> bool:
    name = found.__name__ if inspect.ismodule(found) else getattr(found, "__module__", "") or ""
    return str(name).split(".")[0] == _OURS


def _skip(app: Sphinx, what: str, name: str, found: Any, skip: bool, options: Any) -> bool | None:
    """MONAI's second and third name of a dictionary transform, ``XD`` and ``XDict`` of ``Xd``, are not shown again."""
    if inspect.isclass(found) and name != found.__name__ and name.endswith(("D", "Dict")):
        return True
    return None


def _public_bases(app: Sphinx, name: str, found: Any, options: Any, bases: list[Any]) -> None:
    """In place of a base class that is not public, its own bases."""
    bases[:] = dict.fromkeys(public for base in bases for public in _public(base))


def _public(base: Any) -> list[Any]:
    if not _is_ours(base):
        return [base]
    package = sys.modules[".".join(base.__module__.split(".")[:2])]
    if base.__name__ in package.__all__:
        return [base]
    return [public for above in base.__bases__ for public in _public(above)]


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("missing-reference", _resolve)
    app.connect("autodoc-skip-member", _skip)
    app.connect("autodoc-process-bases", _public_bases)
    return {"parallel_read_safe": True}
