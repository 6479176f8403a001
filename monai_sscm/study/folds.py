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

"""Patients held out in turn: data lists of a cross-validation, in which those of a patient stay together."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_sscm.data.layouts.layout import EXTRAS
from monai_sscm.io.writing import write_whole

__all__ = ["fold_lists", "patient_folds", "write_lists"]

Items = Sequence[Mapping[str, Any]]


def patient_folds(patients: Sequence[str], num_folds: int) -> dict[str, int]:
    """
    Deal patients into folds of nearly one size, always the same.

    Args:
        patients: their names; doubles count once.
        num_folds: at least 2, and at most as many as there are patients.

    Returns:
        the fold of each patient, from 0.

    Example:
        >>> from monai_sscm.study.folds import patient_folds
        >>> folds = patient_folds(["a", "b", "c", "c", "d", "e"], 2)
        >>> sorted(folds), sorted(folds.values())
        (['a', 'b', 'c', 'd', 'e'], [0, 0, 0, 1, 1])
    """
    names = sorted(set(patients))
    if not 2 <= num_folds <= len(names):
        raise ValueError(f"`num_folds` must be from 2 to {len(names)}, the number of patients, got {num_folds}.")
    order = np.random.RandomState(0).permutation(len(names))
    return {names[k]: position % num_folds for position, k in enumerate(order)}


def fold_lists(
    labeled: Items, unlabeled: Items, fold_of: Mapping[str, int], fold: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """
    What is trained on while a fold is held out, and what is scored.

    Args:
        labeled: items with ``image``, ``label`` and ``group``, the patient.
        unlabeled: items with ``image`` and ``group``.
        fold_of: fold of each patient that has labelled images.
        fold: which is held out.

    Returns:
        items for training, with masks and without, and items for scoring. Unlabelled images of patients who are held
        out are in neither.
    """
    held_out = {patient for patient, k in fold_of.items() if k == fold}
    train = [_entry(item) for item in (*labeled, *unlabeled) if item["group"] not in held_out]
    return train, [_entry(item) for item in labeled if item["group"] in held_out]


def write_lists(path: str | Path, train: Items, scored: Items) -> bool:
    """
    Write a data list in JSON, or see that the one that is there says the same.

    Args:
        path: the file.
        train, scored: its items for training and for testing.

    Returns:
        whether it is as it was, if it was there.
    """
    path = Path(path)
    text = json.dumps({"training": list(train), "testing": list(scored)}, indent=1)
    if path.is_file():
        return path.read_text("utf-8") == text
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda part: part.write_text(text, "utf-8"))
    return True


def _entry(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item as an entry of a data list, with paths that hold from anywhere."""
    image = item["image"]
    entry: dict[str, Any] = {"image": os.path.abspath(image) if isinstance(image, str) else list(map(_absolute, image))}
    entry |= {"label": os.path.abspath(item["label"])} if "label" in item else {}
    return entry | {"group": item["group"]} | {key: item[key] for key in EXTRAS if key in item}


def _absolute(path: str) -> str:
    return os.path.abspath(path)
