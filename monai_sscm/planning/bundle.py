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


"""From a data set to a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from monai_sscm.bundle import bundle_names, find_weights

from .fingerprint import fingerprint
from .hardware import find_hardware
from .plan import OF_DATA, Plan, make_plan, typed_values
from .write import write_plan

__all__ = ["plan_bundle"]


def plan_bundle(dataset_dir: str | Path, folder: str | Path, values: Mapping[str, str] | None = None) -> Plan:
    """
    Look at a data set, plan a training, and write it as a bundle.

    Args:
        dataset_dir: folder of the data set, or the JSON file of a data list.
        folder: folder that becomes the bundle; must not exist, or be empty.
        values: values of ``train.yaml`` by name, as texts, that are taken as they are.

    Returns:
        the plan; ``print(plan.summary())`` says what was found and chosen.

    Raises:
        FileNotFoundError, OSError: when a file or weights are missing or damaged, or the bundle cannot be written.
        ValueError: when a value is wrong, or the data contradict themselves.

    Example:
        >>> import os, tempfile
        >>> from monai_sscm.datasets import write_vessel_phantoms
        >>> from monai_sscm.planning import plan_bundle
        >>> folder = tempfile.mkdtemp()
        >>> write_vessel_phantoms(os.path.join(folder, "data"), num_train=4, num_val=1, num_test=1, size=64)
        >>> plan = plan_bundle(os.path.join(folder, "data"), os.path.join(folder, "mine"), {"num_labeled": "2"})
        >>> plan.kind, plan.values["method"].value
        ('pictures', 'supervised_augmented')
        >>> sorted(os.listdir(os.path.join(folder, "mine")))
        ['configs', 'docs']
    """
    chosen = typed_values(values or {})
    weights = chosen.get("init_from")
    if weights is not None and not weights.startswith(("$", "@")):
        find_weights(weights)
        if weights not in bundle_names():  # a path, which the bundle must find from any folder
            chosen["init_from"] = str(Path(weights).resolve())
    seen = fingerprint(dataset_dir, **{name: chosen[name] for name in OF_DATA if name in chosen})
    plan = make_plan(seen, find_hardware(), chosen)
    write_plan(plan, folder)
    return plan
