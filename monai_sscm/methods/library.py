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


"""The methods by name, without anything that takes long to import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

__all__ = ["METHODS", "Method", "choose", "method_file"]

#: in the order of tables
_NAMES = (
    *("supervised", "supervised_augmented", "supmix_labeled"),
    *("mean_teacher", "cutmix", "classmix", "fixmatch", "unimatch", "bcp"),
    *("supmix", "supmix_sufd", "supmix_cutmix"),
)


@dataclass(frozen=True)
class Method:
    """
    A method of the library.

    Args:
        name: its name on the command line.
        title: its name in tables and figures.
        config: what it adds to supervised training, as in its file.
    """

    name: str
    title: str
    config: Mapping[str, Any]

    @property
    def num_views(self) -> int:
        """How many views of the unlabelled batch it has."""
        views = self.config["views"]
        if isinstance(views, str):  # those of another method
            return METHODS[views.split("#")[1]].num_views
        return len(views)


def method_file(name: str) -> Path:
    """
    The file of a method.

    Args:
        name: name of the method.
    """
    return Path(__file__).with_name(f"{name}.yaml")


def _read(name: str) -> Method:
    config = yaml.safe_load(method_file(name).read_text("utf-8"))
    return Method(name, config["title"], config)


#: by name
METHODS: dict[str, Method] = {name: _read(name) for name in _NAMES}


def choose(methods: Mapping[str, Any], name: str) -> Any:
    """
    One of the methods of a configuration.

    Args:
        methods: all of them by name.
        name: which.

    Raises:
        ValueError: when there is none of this name.

    Example:
        >>> from monai_sscm.methods import choose
        >>> choose({"classmix": {"views": []}}, "clasmix")
        Traceback (most recent call last):
        ValueError: There is no method 'clasmix': choose among classmix.
    """
    if name not in methods:
        raise ValueError(f"There is no method {name!r}: choose among {', '.join(methods)}.")
    return methods[name]
