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

from __future__ import annotations

import logging
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from monai.transforms import Compose, Lambdad, RandFlipd

from monai_sscm.data import BoundedCacheDataset, SemiSupervisedLoader, cache

MEGABYTE = 2**-10


@pytest.mark.parametrize(("gigabytes", "kept"), [(0, 0), (MEGABYTE, 3), (2 * MEGABYTE, 6), (4.0, 6)])
def test_no_more_is_kept_than_there_is_room_for(gigabytes, kept, caplog):
    read: Counter = Counter()

    def load(i: int) -> torch.Tensor:
        read[i] += 1
        return torch.full((1, 80, 1024), float(i))  # 320 kB

    transform = Compose([Lambdad("image", load), RandFlipd("image", prob=0.5)])
    with caplog.at_level(logging.INFO):
        dataset = BoundedCacheDataset([{"image": i} for i in range(6)], transform, gigabytes)
    assert dataset.cache_num == kept
    assert [f"{kept} of 6 images are kept" in caplog.text, caplog.text == ""] == [kept < 6, kept == 6]
    read.clear()
    for _ in range(3):
        assert [float(item["image"][0, 0, 0]) for item in dataset] == list(range(6))
    assert read == {i: 3 for i in range(kept, 6)}  # kept ones are not read again


def numbered(n: int, read: Counter) -> tuple[list, Compose]:
    """Images that count how often each is read, with a random transform."""

    def load(i: int) -> torch.Tensor:
        read[i] += 1
        return torch.full((1, 8, 8), float(i)) + torch.arange(8.0) / 10

    return [{"image": i} for i in range(n)], Compose([Lambdad("image", load), RandFlipd("image", prob=0.5)])


def test_when_the_time_is_up_images_are_read_as_they_are_used(caplog):
    read: Counter = Counter()
    with caplog.at_level(logging.INFO):
        dataset = BoundedCacheDataset(*numbered(200, read), fill_seconds=0)
    assert sum(read.values()) == 1 and "0 of 200 images were read beforehand" in caplog.text  # one to know its size
    read.clear()
    for _ in range(3):
        dataset[7], dataset[9]
    assert read == {7: 1, 9: 1}
    read.clear()
    caplog.clear()
    dataset = BoundedCacheDataset(*numbered(200, read), fill_seconds=60)
    read.clear()
    assert len([dataset[i] for i in range(200)]) == 200 and not read and not caplog.text
    with pytest.raises(ValueError, match="fill_seconds"):
        BoundedCacheDataset([], Compose([]), fill_seconds=-1)


def test_a_part_of_them_is_read_beforehand(monkeypatch):
    times = iter(range(100))
    monkeypatch.setattr(cache, "time", SimpleNamespace(monotonic=lambda: next(times)))
    read: Counter = Counter()
    dataset = BoundedCacheDataset(*numbered(200, read), fill_seconds=3)  # looks at the time before each 32 images
    filled = [i for i, item in enumerate(dataset._cache) if item is not None]
    assert len(filled) == 64 and max(filled) > 150  # a sample of all, not the first
    assert all(float(dataset._cache[i]["image"][0, 0, 0]) == i for i in filled)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_are_the_same_however_they_are_cached(num_workers):
    def batches(**kwargs) -> torch.Tensor:
        read: Counter = Counter()
        dataset = BoundedCacheDataset(*numbered(80, read), **kwargs)
        labeled = BoundedCacheDataset(*numbered(3, read))
        loader = SemiSupervisedLoader(labeled, dataset, batch_size=4, epoch_length=15, num_workers=num_workers)
        found = torch.cat([batch["unlabeled_image"] for _ in range(2) for batch in loader])
        if kwargs.get("fill_seconds") == 0:  # workers keep nothing
            assert any(item is not None for item in dataset._cache) == (num_workers == 0)
        return found

    expected = batches()
    for kwargs in ({"fill_seconds": 0}, {"fill_seconds": 60}, {"cache_gigabytes": 0}):
        assert torch.equal(batches(**kwargs), expected)


def test_nothing_and_less_than_nothing():
    assert len(BoundedCacheDataset([], Compose([]))) == 0
    with pytest.raises(ValueError, match="cache_gigabytes"):
        BoundedCacheDataset([], Compose([]), -1)
    for name in ("cache_num", "cache_rate", "runtime_cache"):
        with pytest.raises(ValueError, match=f"`{name}` is reckoned from `cache_gigabytes`"):
            BoundedCacheDataset([], Compose([]), **{name: 1})
