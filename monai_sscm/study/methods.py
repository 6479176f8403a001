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

"""The methods that a study compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

__all__ = ["METHODS", "Method", "read_methods"]


@dataclass(frozen=True)
class Method:
    """
    What makes a method: files on top of the bundle's ``train.yaml``, and further values.

    Args:
        title: its name in tables and figures.
        configs: names of the files, without suffix.
        values: values of the configuration; ``num_labeled: "all"`` for as many as there are.
    """

    title: str
    configs: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)


#: by the name that is given on the command line
METHODS: dict[str, Method] = {
    "supervised": Method("supervised", ("supervised",)),
    "supervised_augmented": Method("supervised + augmented batch", ("supervised_augmented",)),
    "supmix_labeled": Method("SupMix, labelled onto labelled", ("supmix_labeled",)),
    "mean_teacher": Method("Mean Teacher", ("mean_teacher",)),
    "cutmix": Method("CutMix", ("cutmix",)),
    "classmix": Method("ClassMix", ("classmix",)),
    "fixmatch": Method("FixMatch", ("fixmatch",)),
    "unimatch": Method("UniMatch", ("unimatch",)),
    "bcp": Method("BCP", ("bcp",)),
    "supmix": Method("SupMix", ("supmix",)),
    "supmix_sufd": Method("SupMix + SUFD"),
    "full_supervision": Method("full supervision", ("supervised",), {"num_labeled": "all"}),
}


def read_methods(path: str | Path) -> dict[str, Method]:
    """
    Read methods from a YAML file: by name, ``title``, ``configs`` and ``values``, each of which may be left out.

    Args:
        path: the file.

    Raises:
        ValueError: when it is not of this form.
    """
    found = yaml.safe_load(Path(path).read_text("utf-8"))
    if not isinstance(found, dict) or not all(isinstance(entry or {}, dict) for entry in found.values()):
        raise ValueError(f"{str(path)!r} must have a mapping of `title`, `configs` and `values` for each method.")
    methods = {}
    for name, entry in found.items():
        unknown = set(entry or {}) - {"title", "configs", "values"}
        if unknown:
            raise ValueError(f"{name} in {str(path)!r} has {sorted(unknown)}: a method has title, configs and values.")
        title, configs, values = ((entry or {}).get(key) for key in ("title", "configs", "values"))
        configs, values = configs or [], values or {}
        if not isinstance(configs, list) or not isinstance(values, dict):
            raise ValueError(f"{name} in {str(path)!r}: `configs` must be a list of names, `values` a mapping.")
        methods[str(name)] = Method(str(title or name), tuple(map(str, configs)), values)
    return methods
