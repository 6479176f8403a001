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

import pytest
import torch
from monai.transforms import Compose, Lambdad, RandFlipd

from monai_sscm.data import BoundedCacheDataset

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


def test_nothing_and_less_than_nothing():
    assert len(BoundedCacheDataset([], Compose([]))) == 0
    with pytest.raises(ValueError, match="cache_gigabytes"):
        BoundedCacheDataset([], Compose([]), -1)
    for name in ("cache_num", "cache_rate", "runtime_cache"):
        with pytest.raises(ValueError, match=f"`{name}` is reckoned from `cache_gigabytes`"):
            BoundedCacheDataset([], Compose([]), **{name: 1})
