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


"""The methods that a study compares: those of the package, and further ones from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from monai_sscm import methods as library
from monai_sscm.errors import one_line

__all__ = ["METHODS", "Method", "Methods", "Rows", "bundle_methods", "read_methods"]

#: results of a study, a dictionary for each training
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Method:
    """
    What makes a method in a study: values of the bundle's ``train.yaml``.

    Args:
        title: its name in tables and figures.
        values: values of the configuration, ``method`` among them; ``num_labeled: "all"`` for as many as there are.
    """

    title: str
    values: Mapping[str, Any] = field(default_factory=dict)


Methods = Mapping[str, Method]

#: by the name that is given on the command line
METHODS: dict[str, Method] = {
    **{name: Method(method.title, {"method": name}) for name, method in library.METHODS.items()},
    "full_supervision": Method("full supervision", {"method": "supervised", "num_labeled": "all"}),
}


def bundle_methods(config: str | Path) -> dict[str, Method]:
    """
    The methods that a bundle has beside those of the package, such as one that was added to a copy.

    Args:
        config: its ``train.yaml``.

    Example:
        >>> from monai_sscm.bundle import find_bundle
        >>> from monai_sscm.study import bundle_methods
        >>> bundle_methods(find_bundle("chase_vessel_segmentation") + "/configs/train.yaml")
        {}
    """
    found = yaml.safe_load(Path(config).read_text("utf-8")).get("methods", {})
    return {
        name: Method(str(m.get("title", name)), {"method": name}) for name, m in found.items() if name not in METHODS
    }


def read_methods(path: str | Path) -> dict[str, Method]:
    """
    Read methods from a YAML file: by name, ``title`` and ``values``. Without ``method`` among the values, the bundle's
    configuration has a method of this name.

    Args:
        path: the file.

    Raises:
        ValueError: when it cannot be read, or is not of this form.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from monai_sscm.study import read_methods
        >>> path = Path(tempfile.mkdtemp()) / "methods.yaml"
        >>> _ = path.write_text("half: {title: SupMix on a half, values: {method: supmix, paste_prob: 0.5}}")
        >>> read_methods(path)["half"].values
        {'method': 'supmix', 'paste_prob': 0.5}
    """
    try:
        found = yaml.safe_load(Path(path).read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as e:
        raise ValueError(f"{str(path)!r} cannot be read as YAML ({one_line(e)}): check the file.") from e
    if not isinstance(found, dict) or not all(isinstance(entry or {}, dict) for entry in found.values()):
        raise ValueError(f"{str(path)!r} must have a mapping of `title` and `values` for each method.")
    methods = {}
    for name, entry in found.items():
        unknown = set(entry or {}) - {"title", "values"}
        if unknown:
            raise ValueError(f"{name} in {str(path)!r} has {sorted(unknown)}: a method has title and values.")
        title, values = ((entry or {}).get(key) for key in ("title", "values"))
        if not isinstance(values or {}, dict):
            raise ValueError(f"{name} in {str(path)!r}: `values` must be a mapping.")
        methods[str(name)] = Method(str(title or name), {"method": str(name), **(values or {})})
    return methods
