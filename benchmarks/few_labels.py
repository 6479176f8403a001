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

"""Data lists with few labels of the data sets that benchmarks are run on."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

__all__ = ["acdc_list", "ct_list", "hippocampus_list"]


def _entry(image: Path, label: Path, labeled: bool, group: str) -> dict[str, Any]:
    return {"image": str(image), **({"label": str(label)} if labeled else {}), "group": group}


def acdc_list(root: Path, labeled: Collection[str], part: str, path: Path) -> Path:
    """
    Write the list of a training on the volumes of some patients.

    Args:
        root: folder of the data, with ``split.json``.
        labeled: the patients whose masks are used.
        part: what validates: ``"development"`` patients, who are in no other part then, or ``"val"``.
        path: the file.
    """
    split = json.loads((root / "split.json").read_text())

    def entry(name: str, is_labeled: bool) -> dict[str, Any]:
        return _entry(root / "images" / f"{name}.nii.gz", root / "labels" / f"{name}.nii.gz", is_labeled, name[:10])

    develop = split["development"]
    train = [name for name in split["train"] if name[:10] not in develop]
    val = split["val"] if part == "val" else [name for name in split["train"] if name[:10] in develop]
    names = {"0": "background", "1": "right ventricle", "2": "myocardium", "3": "left ventricle"}
    content = {
        "labels": names,
        "training": [entry(name, name[:10] in labeled) for name in train],
        "validation": [entry(name, True) for name in val],
    }
    path.write_text(json.dumps(content, indent=1))
    return path


def hippocampus_list(root: Path, labeled: int, val: int, seed: int, path: Path) -> Path:
    """
    Write the list of a training on some volumes, drawn at random.

    Args:
        root: folder of the data.
        labeled: how many have masks.
        val: how many validate.
        seed: of the draw.
        path: the file.
    """
    import random

    names = sorted(file.name for file in (root / "imagesTr").glob("*.nii.gz"))
    random.Random(seed).shuffle(names)
    entries = [
        _entry(root / "imagesTr" / name, root / "labelsTr" / name, i < labeled + val, name)
        for i, name in enumerate(names)
    ]
    content = {
        "labels": {"0": "background", "1": "anterior", "2": "posterior"},
        "training": entries[:labeled] + entries[labeled + val :],
        "validation": entries[labeled : labeled + val],
    }
    path.write_text(json.dumps(content, indent=1))
    return path


def ct_list(root: Path, labeled: Collection[str], path: Path) -> Path:
    """
    Write the list of a training on some slices of COVID-19 CT, whose validation slices validate.

    Args:
        root: folder of the data, with ``split.json``.
        labeled: names of the training slices whose masks are used; the others are unlabeled.
        path: the file.
    """
    split = json.loads((root / "split.json").read_text())
    together = {str(name): str(group[0]) for group in split.get("kept_together", []) for name in group}

    def entry(name: str, is_labeled: bool) -> dict[str, Any]:
        group = together.get(name, name)
        return _entry(root / "images" / f"{name}.jpg", root / "labels" / f"{name}.png", is_labeled, group)

    content = {
        "labels": {"0": "background", "1": "ground-glass", "2": "consolidation"},
        "training": [entry(str(name), str(name) in labeled) for name in split["train"]],
        "validation": [entry(str(name), True) for name in split["val"]],
    }
    path.write_text(json.dumps(content, indent=1))
    return path
