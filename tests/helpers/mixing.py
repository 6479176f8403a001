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

"""Batches and checks for the tests of the mixing transforms."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from monai.data import MetaTensor

from monai_sscm.transforms import SupervisedClassMixd

SIZES = [(2, (9, 7)), (2, (16, 16)), (3, (5, 6, 7))]
KEYS = ("unlabeled_image", "pseudo_label", "pseudo_weight")
OUT = ("mixed_image", "mixed_label", "mixed_weight")

MANY = settings(max_examples=1000, deadline=None, derandomize=True, database=None)
CONTAINERS = {
    "numpy": lambda x: x.numpy(),
    "tensor": lambda x: x,
    "meta": lambda x: MetaTensor(x, affine=torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0]))),
}


def one_hot(label: torch.Tensor, num_classes: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(label[:, 0].long(), num_classes).movedim(-1, 1)


def make_batch(spatial: tuple[int, ...], b: int = 4, donors: int = 4, channels: int = 3, k: int = 3, seed: int = 0):
    g = torch.Generator().manual_seed(seed)
    return {
        "image": torch.rand((donors, channels, *spatial), generator=g) + 10,
        "label": torch.randint(0, k, (donors, 1, *spatial), generator=g),
        "unlabeled_image": torch.rand((b, channels, *spatial), generator=g),
        "pseudo_label": torch.randint(0, k, (b, 1, *spatial), generator=g),
        "pseudo_weight": torch.rand((b, 1, *spatial), generator=g) * 0.5,
    }


def make_supmix(spatial_dims: int, classes=(1, 2), num_classes: int = 3, **kwargs) -> SupervisedClassMixd:
    return SupervisedClassMixd(
        keys=KEYS,
        donor_keys=("image", "label", None),
        label_key="label",
        classes=classes,
        num_classes=num_classes,
        spatial_dims=spatial_dims,
        output_keys=OUT,
        mask_key="mixed_mask",
        **kwargs,
    )


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
