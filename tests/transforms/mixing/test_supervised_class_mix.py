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

"""Supervised ClassMix against a loop over pixels, and properties on inputs that hypothesis makes up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given

from monai_sscm.transforms import SupervisedClassMix, SupervisedClassMixD, SupervisedClassMixd, SupervisedClassMixDict
from tests.helpers.mixing import (
    CONTAINERS,
    KEYS,
    MANY,
    OUT,
    SIZES,
    cases,
    check,
    make_batch,
    make_supmix,
    one_hot,
    plain,
)


@pytest.mark.parametrize(("spatial_dims", "spatial"), SIZES)
@pytest.mark.parametrize("classes", [(1,), (2,), (1, 2), (0, 2), "foreground"])
@pytest.mark.parametrize("donors", [4, 3, 1, 6])
@pytest.mark.parametrize("layout", ["index", "one_hot"])
def test_supervised_class_mix_pixel_by_pixel(spatial_dims, spatial, classes, donors, layout):
    batch = make_batch(spatial, donors=donors)
    expected = {key: batch[key].clone().numpy() for key in KEYS}
    pasted = {1, 2} if classes == "foreground" else set(classes)
    mask = np.zeros((4, 1, *spatial), dtype=bool)
    for i in range(4):
        for where in np.ndindex(*spatial):
            if int(batch["label"][(i % donors, 0, *where)]) in pasted:
                at = (i, slice(None), *where)
                expected["unlabeled_image"][at] = batch["image"][(i % donors, slice(None), *where)]
                expected["pseudo_label"][at] = batch["label"][(i % donors, slice(None), *where)]
                expected["pseudo_weight"][at] = 1.0
                mask[(i, 0, *where)] = True
    if layout == "one_hot":
        batch["label"] = one_hot(batch["label"], 3)
        batch["pseudo_label"] = one_hot(batch["pseudo_label"], 3)
        expected["pseudo_label"] = one_hot(torch.as_tensor(expected["pseudo_label"]), 3).numpy()
    out = make_supmix(spatial_dims, classes)(batch)
    for key, out_key in zip(KEYS, OUT):
        np.testing.assert_array_equal(out[out_key].numpy(), expected[key])
        assert out[out_key].dtype == batch[key].dtype
    np.testing.assert_array_equal(out["mixed_mask"].numpy(), mask)
    assert out["mixed_mask"].dtype == torch.bool


def test_inputs_are_left_alone_and_keys_are_overwritten_only_on_request():
    batch = make_batch((8, 8))
    before = {key: value.clone() for key, value in batch.items()}
    out = make_supmix(2)(batch)
    assert all(torch.equal(batch[key], before[key]) and out[key] is batch[key] for key in before)
    overwrite = SupervisedClassMixd(KEYS, ("image", "label", None), "label", (1,), 3, 2)(batch)
    assert not torch.equal(overwrite["unlabeled_image"], before["unlabeled_image"])
    assert torch.equal(batch["unlabeled_image"], before["unlabeled_image"])
    assert set(overwrite) == set(before)


def test_donor_without_the_class_leaves_the_receiver():
    batch = make_batch((8, 8))
    batch["label"][1] = 0
    out = make_supmix(2, classes=(1, 2))(batch)
    assert torch.equal(out["mixed_image"][1], batch["unlabeled_image"][1])
    assert torch.equal(out["mixed_weight"][1], batch["pseudo_weight"][1])
    assert not out["mixed_mask"][1].any() and out["mixed_mask"][0].any()


@MANY
@given(cases())
def test_supervised_class_mix(case):
    wrap = CONTAINERS[case["container"]]
    kwargs = {k: case[k] for k in ("num_classes", "spatial_dims", "ignore_index", "prob")}
    mix = SupervisedClassMix(case["classes"], **kwargs).set_random_state(case["seed"])
    receiver = [wrap(case[k]) for k in ("image", "label", "weight")]
    donor = [wrap(case["donor_image"]), wrap(case["donor_label"]), None]
    mixed, mask = mix(receiver, donor, wrap(case["donor_label"]))
    ones = torch.ones_like(case["donor_label"], dtype=torch.float32)
    where = check(case, mixed, mask, [case["donor_image"], case["donor_label"], ones], offset=0)

    label = case["donor_label"][torch.arange(len(where)) % len(case["donor_label"])]
    pasted = set(label[where].tolist())
    assert case["ignore_index"] not in pasted and pasted <= set(range(case["num_classes"]))
    for i in range(len(where)):
        classes, present = set(label[i][where[i]].tolist()), set(label[i].unique().tolist())
        present -= {case["ignore_index"]}
        assert torch.equal(
            where[i], torch.isin(label[i], torch.tensor(sorted(classes)).to(label.dtype))
        )  # whole classes
        if case["classes"] == "random_half":
            assert len(classes) in {len(present) // 2, 0 if case["prob"] < 1 else len(present) // 2}
        else:
            wanted = present & (set(case["classes"]) if case["classes"] != "foreground" else present - {0})
            assert classes == wanted or (case["prob"] < 1 and not classes)

    again = SupervisedClassMix(case["classes"], **kwargs).set_random_state(case["seed"])
    same, same_mask = again(receiver, donor, wrap(case["donor_label"]))
    assert torch.equal(plain(same_mask), where) and all(torch.equal(plain(a), plain(b)) for a, b in zip(same, mixed))
    samples = SupervisedClassMix(case["classes"], **kwargs).set_random_state(case["seed"])
    for i in range(len(where)):  # a batch gives what its samples give in a row
        j = i % len(case["donor_label"])
        one, one_mask = samples([x[i] for x in receiver], [donor[0][j], donor[1][j], None], donor[1][j])
        assert torch.equal(plain(one_mask), where[i])
        assert all(torch.equal(plain(a), plain(b)[i]) for a, b in zip(one, mixed))


def test_refused_keys():
    with pytest.raises(ValueError, match="donor key"):
        SupervisedClassMixd(KEYS, ("image", "label"), "label", (1,), 3, 2)


def test_aliases():
    assert SupervisedClassMixD is SupervisedClassMixDict is SupervisedClassMixd
    assert SupervisedClassMix.__call__.__doc__
