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

"""Folds: patients stay together, and nobody who is scored is learned from."""

from __future__ import annotations

import json

import pytest

from monai_sscm.data import semi_supervised_datalist
from monai_sscm.datasets import write_vessel_phantoms
from monai_sscm.study.folds import fold_lists, patient_folds, write_lists

LABELED = [{"image": f"images/{p}{k}.png", "label": f"labels/{p}{k}.png", "group": p} for p in "abcde" for k in "12"]
UNLABELED = [{"image": f"images/{p}3.png", "group": p} for p in "abxyz"]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_every_patient_is_held_out_once_with_all_images(count):
    fold_of = patient_folds([item["group"] for item in LABELED], count)
    scored_in_all = []
    for fold in range(count):
        train, scored = fold_lists(LABELED, UNLABELED, fold_of, fold)
        assert {e["group"] for e in train}.isdisjoint(e["group"] for e in scored)
        assert all("label" in e for e in scored)
        assert len([e for e in train if "label" in e]) + len(scored) == len(LABELED)
        held_out = {e["group"] for e in scored}
        assert {e["group"] for e in train if "label" not in e} == set("abxyz") - held_out
        scored_in_all += [e["image"] for e in scored]
    assert sorted(scored_in_all) == sorted(set(scored_in_all)) and len(scored_in_all) == len(LABELED)
    sizes = [list(fold_of.values()).count(k) for k in range(count)]
    assert max(sizes) - min(sizes) <= 1


def test_folds_are_always_the_same_and_too_many_are_refused():
    assert patient_folds("edcba", 3) == patient_folds("abcde", 3)
    for count in (1, 6):
        with pytest.raises(ValueError, match="from 2 to 5, the number of patients"):
            patient_folds("abcde", count)


def test_a_list_is_read_as_it_was_written(tmp_path):
    write_vessel_phantoms(tmp_path / "data", num_train=4, num_val=0, num_test=0, size=32)
    lists = semi_supervised_datalist(tmp_path / "data", num_labeled=3)
    fold_of = patient_folds([item["group"] for item in lists["labeled"]], 3)
    train, scored = fold_lists(lists["labeled"], lists["unlabeled"], fold_of, 1)
    path = tmp_path / "lists" / "fold.json"
    assert write_lists(path, train, scored) and write_lists(path, train, scored)
    assert not write_lists(path, train[1:], scored)
    read = semi_supervised_datalist(path)
    assert [len(read[part]) for part in ("labeled", "unlabeled", "val", "test")] == [2, 1, 0, 1]
    assert read["test"][0]["group"] == scored[0]["group"]


def test_channels_and_partly_labeled_slices_are_kept(tmp_path):
    item = {"image": ["a_0.nii.gz", "a_1.nii.gz"], "label": "a.nii.gz", "group": "a", "labeled_slices": [3]}
    train, scored = fold_lists([item, {**item, "group": "b"}], [], {"a": 0, "b": 1}, 1)
    write_lists(tmp_path / "list.json", train, scored)
    entry = json.loads((tmp_path / "list.json").read_text())["training"][0]
    assert [path.endswith(f"a_{k}.nii.gz") for k, path in enumerate(entry["image"])] == [True, True]
    assert entry["labeled_slices"] == [3] and entry["group"] == "a"
