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

"""ClassMix: what is pasted comes from the next sample."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given

from monai_sscm.transforms import ClassMix, ClassMixD, ClassMixd, ClassMixDict
from tests.helpers.mixing import CONTAINERS, KEYS, MANY, OUT, SIZES, cases, check, make_batch


@pytest.mark.parametrize("classes", ["random_half", (1,), "foreground"])
@pytest.mark.parametrize(("spatial_dims", "spatial"), SIZES)
def test_class_mix_takes_from_the_next_sample(classes, spatial_dims, spatial):
    batch = make_batch(spatial, b=5)
    mix = ClassMixd(
        KEYS, "pseudo_label", classes, num_classes=3, spatial_dims=spatial_dims, output_keys=OUT, mask_key="mixed_mask"
    ).set_random_state(0)
    out = mix(batch)
    for i in range(5):
        mask = out["mixed_mask"][i]
        donor_label = batch["pseudo_label"][(i + 1) % 5]
        pasted = torch.unique(donor_label[mask]).tolist()
        expected = {"random_half": 1, (1,): 1, "foreground": 2}[classes]
        assert len(pasted) == expected
        assert torch.equal(mask, torch.isin(donor_label, torch.tensor(pasted)))
        for key, out_key in zip(KEYS, OUT):
            donor = batch[key][(i + 1) % 5]
            assert torch.equal(out[out_key][i], torch.where(mask, donor, batch[key][i]))


@MANY
@given(cases())
def test_class_mix(case):
    wrap = CONTAINERS[case["container"]]
    kwargs = {k: case[k] for k in ("num_classes", "spatial_dims", "classes", "ignore_index", "prob")}
    mix = ClassMix(**kwargs).set_random_state(case["seed"])
    mixed, mask = mix([wrap(case[k]) for k in ("image", "label", "weight")], wrap(case["label"]))
    where = check(case, mixed, mask, [case["image"], case["label"], case["weight"]], offset=1)
    label = case["label"].roll(-1, 0)
    for i in range(len(where)):
        classes, present = set(label[i][where[i]].tolist()), set(label[i].unique().tolist()) - {case["ignore_index"]}
        assert case["ignore_index"] not in classes
        if case["classes"] == "random_half":
            assert len(classes) in {len(present) // 2, 0 if case["prob"] < 1 else len(present) // 2}
    # what a sample gets depends on its own labels and draws alone
    one_hot = torch.nn.functional.one_hot(case["label"][:, 0].long() % 1000 % case["num_classes"], case["num_classes"])
    index, layers = one_hot.argmax(-1)[:, None], one_hot.movedim(-1, 1)
    by_index = ClassMix(**kwargs).set_random_state(case["seed"])((case["image"],), index)
    by_layers = ClassMix(**kwargs).set_random_state(case["seed"])((case["image"],), layers)
    assert torch.equal(by_index[1], by_layers[1]) and torch.equal(by_index[0][0], by_layers[0][0])


def test_refused_keys():
    with pytest.raises(ValueError, match="output key"):
        ClassMixd(KEYS, "pseudo_label", num_classes=3, spatial_dims=2, output_keys=("a", "b"))


def test_aliases():
    assert ClassMixD is ClassMixDict is ClassMixd
    assert ClassMix.__call__.__doc__
