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

"""What random transforms share that serve a whole batch on its device, and draw for every sample."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping

import numpy as np
import torch
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms.transform import MapTransform, RandomizableTransform
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_tensor

__all__ = ["RandBatchDraws", "RandBatchTransform", "RandBatchTransformd"]


class RandBatchDraws(RandomizableTransform):
    """
    Base of random transforms of samples ``(C, *spatial)`` and batches ``(B, C, *spatial)`` alike: their random numbers.

    They are drawn for the whole batch in the order of its samples, whether used or not, so a batch gives what its
    samples would give in a row, and the stream does not depend on ``prob`` or on the images.

    Args:
        spatial_dims: number of spatial dimensions of the data, 2 or 3.
        prob: probability for a sample.
        num_draws: how many random numbers in [0, 1) a sample needs, in ``self._draws`` afterwards.

    Raises:
        ValueError: when an argument is out of its range.
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, spatial_dims: int, prob: float, num_draws: int) -> None:
        super().__init__(prob)
        if spatial_dims not in (2, 3):
            raise ValueError(f"`spatial_dims` must be 2 or 3, got {spatial_dims!r}.")
        if not 0 <= prob <= 1:
            raise ValueError(f"`prob` must lie in [0, 1], got {prob!r}.")
        self.spatial_dims = spatial_dims
        self._draws = np.empty((0, num_draws))

    def randomize(self, data: int) -> None:
        """
        Draw the random numbers of a batch.

        Args:
            data: number of samples in the batch.
        """
        self._draws = self.R.random_sample((data, self._draws.shape[1]))


class RandBatchTransform(RandBatchDraws):
    """
    Base of random transforms of one array. A subclass defines :py:meth:`_transform`.

    Args:
        spatial_dims, prob, num_draws: see :py:class:`RandBatchDraws`.
    """

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> NdarrayOrTensor:
        """
        Args:
            img: a sample ``(C, *spatial)`` or a batch ``(B, C, *spatial)``; integers are converted to float32.
            randomize: whether to draw new random numbers, or to use those of the last call.
        """
        return self._on_batch(img, self._transform, randomize)

    def _transform(self, x: torch.Tensor) -> torch.Tensor:
        """Transform a plain batch, by ``self._draws``; it must not write into what it is given."""
        raise NotImplementedError(f"Subclass {self.__class__.__name__} must implement this method.")

    def _on_batch(
        self,
        img: NdarrayOrTensor,
        function: Callable[[torch.Tensor], torch.Tensor],
        randomize: bool,
        floating: bool = True,
    ) -> NdarrayOrTensor:
        """
        Apply a function of plain batches, and give its result the container and the metadata of the input.

        Args:
            img: a sample or a batch.
            function: from batch to batch; it must not write into what it is given.
            randomize: whether to draw new random numbers, or to use those of the last call.
            floating: whether integers are converted to float32.

        Raises:
            ValueError: when ``img`` is neither a sample nor a batch, or of another length than what was drawn for.
        """
        x: torch.Tensor = convert_to_tensor(img, track_meta=False)
        batched = x.ndim == self.spatial_dims + 2
        if not batched and x.ndim != self.spatial_dims + 1:
            raise ValueError(
                f"{self.__class__.__name__}(spatial_dims={self.spatial_dims}) takes channel-first samples with "
                f"{self.spatial_dims + 1} dimensions or batches with {self.spatial_dims + 2}, got {tuple(x.shape)}."
            )
        x = x if batched else x[None]
        if floating and not x.is_floating_point():
            x = x.float()
        if randomize:
            self.randomize(len(x))
        if len(self._draws) != len(x):
            raise ValueError(
                f"Random numbers were drawn for {len(self._draws)} samples, there are {len(x)}: call with "
                "`randomize=True`, or call `randomize(batch_size)` first."
            )
        x = function(x)
        out: NdarrayOrTensor = convert_to_dst_type(x if batched else x[0], dst=img, dtype=x.dtype)[0]
        return out


class RandBatchTransformd(MapTransform, RandomizableTransform):
    """
    Base of their dictionary-based versions: all keys get the same draw.

    Args:
        keys: what is transformed; all samples, or all batches of one length.
        transform: the array transform.
        allow_missing_keys: whether to pass over keys that are not there.
    """

    backend = RandBatchTransform.backend

    def __init__(self, keys: KeysCollection, transform: RandBatchTransform, allow_missing_keys: bool = False) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, transform.prob)
        self.transform = transform

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> RandBatchTransformd:
        super().set_random_state(seed, state)
        self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        d = dict(data)
        randomize = True
        for key in self.key_iterator(d):
            d[key] = self._apply(key, d[key], randomize)
            randomize = False
        return d

    def _apply(self, key: Hashable, img: NdarrayOrTensor, randomize: bool) -> NdarrayOrTensor:
        """Transform the entry of one key."""
        return self.transform(img, randomize)
