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


"""A method for a script: the objects that the bundles' configurations build."""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from .library import METHODS, choose

__all__ = ["build_method"]

_TEMPLATE = Path(__file__).parents[1] / "templates" / "base" / "train.yaml"


def build_method(name: str, num_classes: int, spatial_dims: int, **options: Any) -> dict[str, Any]:
    """
    Build what a method adds to supervised training, as the bundles do.

    Args:
        name: name of the method, one of :py:data:`METHODS`.
        num_classes: number of classes with the background.
        spatial_dims: number of spatial dimensions of the images, 2 or 3.
        options: options of the bundles' ``train.yaml`` that the method uses, in place of their defaults: such as
            ``paste_classes``, ``paste_margin``, ``confidence_threshold``, ``rampup_steps``, ``max_epochs``.

    Returns:
        arguments of :py:class:`monai_sscm.engines.SemiSupervisedTrainer`: ``views``, ``pseudo_labeler`` and
        ``supervised_weight``. SupMix and the controls paste from ``donor_image`` and ``donor_label``: give the loader
        a ``donor`` data set. For SUFD pass a discriminator as well.

    Raises:
        ValueError: when there is no such method, or an option is wrong.

    Example:
        >>> from monai_sscm.methods import build_method
        >>> method = build_method("unimatch", num_classes=2, spatial_dims=2, rampup_steps=0)
        >>> [view.weight(1) for view in method["views"]]
        [0.5, 0.5, 1.0]
    """
    from monai.bundle import ConfigParser

    from monai_sscm.options import Options

    choose(METHODS, name)
    template = yaml.safe_load(_TEMPLATE.read_text("utf-8"))
    used = set(re.findall(r"@options\.(\w+)", _TEMPLATE.read_text("utf-8") + str([m.config for m in METHODS.values()])))
    unknown = sorted(set(options) - used)
    if unknown:
        raise ValueError(f"There is no option {unknown[0]!r}: the methods have {', '.join(sorted(used))}.")
    plain = {k: v for k, v in template.items() if k in used and not (isinstance(v, str) and v.startswith("$"))}
    needed = {"spatial_dims": spatial_dims, "class_names": [f"class {i}" for i in range(num_classes)]}
    values = Options(1, **{**plain, "patch_size": [1] * spatial_dims, **needed, **options})
    config = {
        "imports": template["imports"],
        "options": values,
        "num_classes": num_classes,
        "num_steps": values.max_epochs * values.epoch_length,
        "methods": {name: deepcopy(dict(method.config)) for name, method in METHODS.items()},
        **{part: template[part] for part in ("augment", "ramp", "pseudo_labeler")},
    }
    parser = ConfigParser(config)
    method = parser.get_parsed_content(f"methods#{name}")
    return {
        "views": method["views"],
        "pseudo_labeler": method.get("pseudo_labeler") or parser.get_parsed_content("pseudo_labeler"),
        "supervised_weight": method.get("supervised_weight", values.supervised_weight),
    }
