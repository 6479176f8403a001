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

"""Properties of the loader, on streams that hypothesis makes up: more than a thousand of them."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any
from unittest import mock

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import Dataset
from monai.transforms import RandShiftIntensityd

from monai_sscm.data import SemiSupervisedLoader
from monai_sscm.data import loader as loader_module

MANY = settings(max_examples=300, deadline=None, derandomize=True, database=None)


@st.composite
def loaders(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments of a loader whose images are their own numbers, shifted at random by less than a half."""
    sizes = {name: draw(st.integers(1, 9)) for name in ("labeled", "unlabeled", "donor")}
    if draw(st.booleans()):
        del sizes["donor"]
        if draw(st.booleans()):
            del sizes["unlabeled"]
    batch_size = draw(st.integers(1, 5))
    return {
        "sizes": sizes,
        "batch_size": batch_size,
        "unlabeled_batch_size": draw(st.sampled_from([None, 1, 3])),
        "epoch_length": draw(st.sampled_from([None, 1, 4, 7])),
        "seed": draw(st.integers(0, 5)),
        "num_groups": draw(st.sampled_from([None, 1, 2])),
    }


def make(case: dict[str, Any]) -> SemiSupervisedLoader:
    def dataset(name: str) -> Dataset:
        keys = ["image", "label"] if name != "unlabeled" else ["image"]
        data = [{key: torch.tensor([float(i)]) for key in keys} for i in range(case["sizes"][name])]
        return Dataset(data, RandShiftIntensityd("image", offsets=0.4, prob=1.0))

    sizes, groups = case["sizes"], None
    if case["num_groups"] and "unlabeled" in sizes:
        groups = [i % case["num_groups"] for i in range(sizes["unlabeled"])]
    arguments = {k: case[k] for k in ("batch_size", "unlabeled_batch_size", "epoch_length", "seed")}
    return SemiSupervisedLoader(**{name: dataset(name) for name in sizes}, **arguments, unlabeled_groups=groups)


def values(batches: list[dict[str, torch.Tensor]]) -> list[dict[str, list[float]]]:
    return [{key: x.flatten().tolist() for key, x in batch.items()} for batch in batches]


@MANY
@given(loaders(), st.integers(1, 3))
def test_batches_are_full_fair_and_repeatable(case, epoch):
    loader, again = make(case), make(case)
    loader.set_epoch(epoch)
    got = values(list(loader))
    assert len(got) == len(loader) == (case["epoch_length"] or len(loader))
    unlabeled_size = case["unlabeled_batch_size"] or case["batch_size"]
    sizes = {"": case["batch_size"], "unlabeled_": unlabeled_size, "donor_": case["batch_size"]}
    names = {"": "labeled", "unlabeled_": "unlabeled", "donor_": "donor"}
    prefixes = [p for p in sizes if names[p] in case["sizes"]]
    keys = {f"{p}{key}" for p in prefixes for key in (["image"] if p == "unlabeled_" else ["image", "label"])}
    for batch in got:
        assert set(batch) == keys and all(len(v) == sizes[k[: -len("image")]] for k, v in batch.items())
        for p in prefixes:
            assert (
                p == "unlabeled_" or [round(x) for x in batch[f"{p}image"]] == batch[f"{p}label"]
            )  # an image keeps its own label
    for p in prefixes:
        n = case["sizes"][names[p]]
        seen = [round(x) for batch in got for x in batch[f"{p}image"]]
        groups = min(case["num_groups"], n) if p == "unlabeled_" and case["num_groups"] else n
        of = [i % case["num_groups"] if groups < n else i for i in seen]
        for start in range(0, len(of) - groups + 1, groups):
            assert len(set(of[start : start + groups])) == groups  # every order has each group once
        assert max(Counter(of).values()) - (min(Counter(of).values()) if len(Counter(of)) == groups else 0) <= 1
    assert got[0]["image"] != got[0].get("label")  # the random transforms run
    again.set_epoch(epoch)
    assert values(list(again)) == got  # whatever ran before
    list(loader)
    for start in {0, 1, len(got) // 2, len(got)}:
        again.set_epoch(epoch, start=start)
        assert values(list(again)) == got[start:]


@MANY
@given(loaders(), st.integers(2, 3))
def test_ranks_share_every_order(case, world_size):
    case = {**case, "epoch_length": case["epoch_length"] or 3}
    per_rank = []
    for rank in range(world_size):
        ranks = {"get_rank": lambda rank=rank: rank, "get_world_size": lambda: world_size}
        with mock.patch.multiple(loader_module.idist, **ranks):
            loader = make(case)
            loader.set_epoch(1)
            per_rank.append(values(list(loader)))
    assert len({len(batches) for batches in per_rank}) == 1  # no rank waits for another
    n = case["sizes"]["labeled"]
    each = [[i for batch in batches for i in batch["label"]] for batches in per_rank]
    order = list(itertools.chain.from_iterable(zip(*each)))
    for start in range(0, len(order) - n + 1, n):
        assert sorted(order[start : start + n]) == list(range(n))
