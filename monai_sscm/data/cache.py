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

"""Images kept in memory, as many as there is room for."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset, Dataset
from torch.utils.data import get_worker_info

__all__ = ["BoundedCacheDataset"]

_logger = logging.getLogger(__name__)

_CHUNK = 32  # images that are read before the time is looked at


class BoundedCacheDataset(CacheDataset):
    """
    :py:class:`monai.data.CacheDataset` that keeps as many images as fit into a share of memory, and reads the others
    anew each time; so a data set larger than memory trains too.

    How many fit is reckoned from the first image, as it is before the random transforms; where sizes differ a lot, name
    less memory. Cached images are handed to the random transforms as they are, not as copies, which must not write
    into them; MONAI's do not.

    Args:
        data: list of dictionaries.
        transform: a ``Compose``; what comes before its first random transform is done once.
        cache_gigabytes: memory for cached images, in units of 2^30 bytes. Worker processes share it where processes are
            forked, as on Linux. 0: none.
        fill_seconds: time after which no more images are read beforehand, but each when it is first asked for, by this
            process; worker processes, whose memory is not shared, read it anew each time. What is read beforehand is a
            random sample. None: all that fit are read beforehand, and so are known to be good.
        kwargs: further arguments of ``CacheDataset``, but for those that say how much is cached, and when.

    Raises:
        ValueError: when ``cache_gigabytes`` or ``fill_seconds`` is negative, or one of those arguments is given.

    Example:
        >>> import numpy as np
        >>> from monai.transforms import Compose, EnsureTyped
        >>> from monai_sscm.data import BoundedCacheDataset
        >>> data = [{"image": np.zeros((1, 256, 256), dtype="float32")} for _ in range(10)]  # 2^18 bytes each
        >>> dataset = BoundedCacheDataset(data, Compose([EnsureTyped("image")]), cache_gigabytes=2**-10)
        >>> len(dataset), dataset.cache_num
        (10, 4)
    """

    def __init__(
        self,
        data: Sequence[Mapping],
        transform: Callable,
        cache_gigabytes: float = 4.0,
        fill_seconds: float | None = None,
        **kwargs: Any,
    ) -> None:
        if cache_gigabytes < 0:
            raise ValueError(f"`cache_gigabytes` must not be negative, got {cache_gigabytes!r}.")
        if fill_seconds is not None and fill_seconds < 0:
            raise ValueError(f"`fill_seconds` must not be negative, got {fill_seconds!r}.")
        self.fill_seconds = fill_seconds
        for name in ("cache_num", "cache_rate", "runtime_cache"):
            if name in kwargs:
                raise ValueError(f"`{name}` is reckoned from `cache_gigabytes`, which is to be given instead.")
        kwargs = {"progress": False, "copy_cache": False, **kwargs}
        cache_num = 0
        if len(data) and cache_gigabytes:
            first = CacheDataset(data[:1], transform, **kwargs)._cache[0]
            cache_num = int(cache_gigabytes * 2**30 // max(1, _bytes(first)))
        super().__init__(data, transform, cache_num=cache_num, **kwargs)
        if cache_num < len(data):
            _logger.info(
                f"{cache_num} of {len(data)} images are kept in memory ({cache_gigabytes} GB), the others are read "
                "each time: raise `cache_gigabytes` if there is more memory, or `num_workers` to read them meanwhile."
            )

    @property
    def cached(self) -> list[Any]:
        """The items in memory, as they are before the random transforms."""
        return list(self._cache)

    def _fill_cache(self, indices: Sequence[int] | None = None) -> list:
        if self.fill_seconds is None:
            return super()._fill_cache(indices)
        end = time.monotonic() + self.fill_seconds
        cache: list[Any] = [None] * self.cache_num
        order = np.random.RandomState(0).permutation(self.cache_num).tolist()
        for begin in range(0, len(order), _CHUNK):
            if time.monotonic() >= end:
                _logger.info(
                    f"{begin} of {len(self.data)} images were read beforehand, the others are when they are used."
                )
                break
            chunk = order[begin : begin + _CHUNK]
            for i, item in zip(chunk, super()._fill_cache(chunk), strict=True):
                cache[i] = item
        return cache

    def _transform(self, index: int) -> Any:
        if get_worker_info() is not None and index < self.cache_num and self._cache[index] is None:
            return Dataset._transform(self, index)  # what a worker keeps is lost with it, and each would keep its own
        return super()._transform(index)


def _bytes(item: Any) -> int:
    """Memory that the arrays of an item take."""
    if isinstance(item, Mapping):
        return sum(_bytes(value) for value in item.values())
    if isinstance(item, (list, tuple)):
        return sum(_bytes(value) for value in item)
    return item.nbytes if isinstance(item, (np.ndarray, torch.Tensor)) else 0
