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

"""Properties of the mixing transforms, on inputs that hypothesis makes up: thousands of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor

from monai_sscm.transforms import ClassMix, CutMixSeg, SupervisedClassMix

MANY = settings(max_examples=1000, deadline=None, derandomize=True, database=None)
CONTAINERS = {
    "numpy": lambda x: x.numpy(),
    "tensor": lambda x: x,
    "meta": lambda x: MetaTensor(x, affine=torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0]))),
}


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    """A receiver and a donor batch in which every voxel of every image has a value of its own."""
    spatial_dims = draw(st.sampled_from([2, 3]))
    spatial = tuple(draw(st.lists(st.integers(1, 6), min_size=spatial_dims, max_size=spatial_dims)))
    batch, donors = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    channels, num_classes = draw(st.integers(1, 3)), draw(st.integers(2, 5))
    ignore = draw(st.sampled_from([None, 255, -1, 0, num_classes - 1]))
    classes: Any = draw(st.sampled_from(["foreground", "random_half", "some"]))
    if classes == "some":
        allowed = [c for c in range(num_classes) if c != ignore]
        classes = tuple(draw(st.lists(st.sampled_from(allowed), min_size=1, unique=True)))
    seed = draw(st.integers(0, 2**31 - 1))
    g = torch.Generator().manual_seed(seed)
    values = [*range(draw(st.integers(1, num_classes)))]  # often not all classes, and sometimes one alone
    dtype = draw(st.sampled_from([torch.int64, torch.int32, torch.float32] + [torch.uint8] * (ignore != -1)))
    if ignore is not None:
        values.append(ignore)

    def labels(n: int) -> torch.Tensor:
        return torch.tensor(values)[torch.randint(0, len(values), (n, 1, *spatial), generator=g)].to(dtype)

    size = int(np.prod((channels, *spatial)))
    return {
        "spatial_dims": spatial_dims,
        "num_classes": num_classes,
        "classes": classes,
        "ignore_index": ignore,
        "prob": draw(st.sampled_from([0.0, 0.5, 1.0])),
        "seed": seed,
        "container": draw(st.sampled_from(sorted(CONTAINERS))),
        "image": torch.arange(batch * size, dtype=torch.float32).view(batch, channels, *spatial),
        "label": labels(batch),
        "weight": torch.rand((batch, 1, *spatial), generator=g) / 2,
        "donor_image": -1 - torch.arange(donors * size, dtype=torch.float32).view(donors, channels, *spatial),
        "donor_label": labels(donors),
    }


def plain(x: Any) -> torch.Tensor:
    return torch.as_tensor(np.asarray(x))


def check(case: dict[str, Any], mixed: tuple, mask: Any, donor: list[torch.Tensor], offset: int) -> torch.Tensor:
    """Every voxel comes from exactly one source, in image, label and weight alike; containers, shapes, types hold."""
    receiver = [case["image"], case["label"], case["weight"]]
    where = plain(mask)
    assert where.dtype == torch.bool and where.shape == (len(receiver[0]), 1, *receiver[0].shape[2:])
    for out, x, y in zip(mixed, receiver, donor):
        assert type(out) is type(CONTAINERS[case["container"]](x)) and plain(out).dtype == x.dtype
        assert out.shape == x.shape
        if case["container"] == "meta":
            assert torch.equal(out.affine, torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0], dtype=torch.float64)))
        index = (torch.arange(len(x)) + offset) % len(y)
        source, here = y[index], where.expand_as(x)
        assert torch.equal(plain(out)[here], source[here].to(x.dtype))
        assert torch.equal(plain(out)[~here], x[~here])
    return where


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


@MANY
@given(cases(), st.integers(1, 4))
def test_margin(case, margin):
    """With a margin, what is pasted is what was pasted without, and all voxels near it that are not ignored."""
    kwargs = {k: case[k] for k in ("num_classes", "spatial_dims", "ignore_index", "prob")}
    wrap = CONTAINERS[case["container"]]
    receiver = [wrap(case[k]) for k in ("image", "label", "weight")]
    donor = [wrap(case["donor_image"]), wrap(case["donor_label"]), None]
    masks = []
    for m in (0, margin):
        mix = SupervisedClassMix(case["classes"], **kwargs, margin=m).set_random_state(case["seed"])
        mixed, mask = mix(receiver, donor, wrap(case["donor_label"]))
        masks.append(plain(mask))
    ones = torch.ones_like(case["donor_label"], dtype=torch.float32)
    where = check(case, mixed, mask, [case["donor_image"], case["donor_label"], ones], offset=0)
    ignored = case["donor_label"] == (10**6 if case["ignore_index"] is None else case["ignore_index"])
    near = torch.zeros_like(where)
    for i, _, *at in masks[0].nonzero().tolist():
        near[(i, 0, *(slice(max(x - margin, 0), x + margin + 1) for x in at))] = True
    assert torch.equal(where, near & ~ignored[torch.arange(len(where)) % len(ignored)])


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


@MANY
@given(cases(), st.floats(0.01, 1.0))
def test_cut_mix(case, area):
    wrap = CONTAINERS[case["container"]]
    mix = CutMixSeg(case["spatial_dims"], area, case["prob"]).set_random_state(case["seed"])
    mixed, mask = mix([wrap(case[k]) for k in ("image", "label", "weight")])
    where = check(case, mixed, mask, [case["image"], case["label"], case["weight"]], offset=1)
    for sample in where[:, 0]:
        if sample.any():  # one box without holes
            corners = [(int(i.min()), int(i.max()) + 1) for i in sample.nonzero(as_tuple=True)]
            assert sample[tuple(slice(*c) for c in corners)].all()
            assert int(sample.sum()) == np.prod([b - a for a, b in corners])
        else:
            assert case["prob"] < 1
