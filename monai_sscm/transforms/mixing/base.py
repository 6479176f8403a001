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

"""What the mixing transforms share: a region of a donor is pasted onto a receiver, image, label and weight alike."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms.transform import MapTransform, RandomizableTransform
from monai.utils import convert_to_dst_type, convert_to_tensor, ensure_tuple

from ..batch import RandBatchDraws

__all__ = ["PasteMix", "PasteMixd", "as_batch", "to_device", "warn_of_one"]


class PasteMix(RandBatchDraws):
    """
    Base of the transforms that paste a region of a donor onto a receiver: ``M * donor + (1 - M) * receiver``.

    A subclass says where to paste in :py:meth:`mask` and brings the donor. Everything else is here, so that images,
    labels and weights are always cut along the same edge.

    Every input has ``spatial_dims + 1`` dimensions (one sample, channel first) or ``spatial_dims + 2`` (a batch); all
    inputs of a call are of one kind. Random numbers are drawn for the whole batch in the order of its samples, so a
    batch gives what its samples would give in a row. Nothing here waits for the device: no value is read back.

    Args:
        spatial_dims: number of spatial dimensions of the data, 2 or 3.
        num_draws: how many random numbers in [0, 1) ``mask`` needs for a sample.
        prob: probability for a sample to receive a paste; the others stay as they are.
    """

    def __init__(self, spatial_dims: int, num_draws: int, prob: float = 1.0) -> None:
        super().__init__(spatial_dims, prob, 1 + num_draws)

    @abstractmethod
    def mask(self, reference: torch.Tensor) -> torch.Tensor:
        """
        Where to paste, from the random numbers in ``self._draws[:, 1:]``.

        Args:
            reference: what the region is cut from, a batch ``(B, C, *spatial)``, in the order of the receivers: the
                donors' labels for class mixes.

        Returns:
            boolean mask ``(B, 1, *spatial)``, true where the donor is pasted.
        """
        raise NotImplementedError(f"Subclass {self.__class__.__name__} must implement this method.")

    def _is_batch(self, data: Sequence[NdarrayOrTensor]) -> bool:
        """Whether the arrays of one call are batches; refuses everything that is neither a sample nor a batch."""
        dimensions = {x.ndim for x in data}
        if dimensions == {self.spatial_dims + 1}:
            return False
        if dimensions == {self.spatial_dims + 2}:
            return True
        raise ValueError(
            f"{self.__class__.__name__}(spatial_dims={self.spatial_dims}) takes channel-first samples with "
            f"{self.spatial_dims + 1} dimensions or batches with {self.spatial_dims + 2}, all of one kind, "
            f"got shapes {[tuple(x.shape) for x in data]}."
        )

    def _paste(
        self,
        receiver: Sequence[NdarrayOrTensor],
        donor: Sequence[torch.Tensor | None],
        reference: torch.Tensor,
        randomize: bool,
        offset: int = 0,
    ) -> tuple[tuple[NdarrayOrTensor, ...], NdarrayOrTensor]:
        """
        Paste ``donor`` onto ``receiver`` where the mask of ``reference`` is true.

        Args:
            receiver: samples or batches of any container type.
            donor: plain tensors in batch form, one for each of ``receiver``, or None for the constant 1.
            reference: plain tensor in batch form, handed to ``mask``; repeated if it is shorter than the receiver.
            randomize: whether to draw anew.
            offset: receiver i takes donor (i + offset) mod B, where B is the number of donors.
        """
        batched = self._is_batch(receiver)
        receivers = [as_batch(x, batched) for x in receiver]
        num_samples, spatial = receivers[0].shape[0], receivers[0].shape[2:]
        for x in (*receivers, *(x for x in donor if x is not None), reference):
            if x.shape[2:] != spatial:
                raise ValueError(
                    f"Receiver and donor must have one spatial size, got {tuple(spatial)} and {tuple(x.shape[2:])}: "
                    "crop or resize both to the same size."
                )
        for x in receivers:
            if x.shape[0] != num_samples:
                raise ValueError(f"The receiver's batches differ in length: {[len(x) for x in receivers]}.")
        for x, y in zip(receivers, donor, strict=True):
            if y is not None and x.shape[1] != y.shape[1]:
                raise ValueError(
                    f"Receiver and donor must have the same channels, got {x.shape[1]} and {y.shape[1]}. "
                    "If these are labels, make both index maps (one channel) or both one-hot."
                )

        if randomize:
            self.randomize(num_samples)
        if len(self._draws) != num_samples:
            raise ValueError(
                f"Random numbers were drawn for {len(self._draws)} samples, the batch has {num_samples}: "
                "call with `randomize=True`, or call `randomize(batch_size)` first."
            )
        mask = self.mask(_repeat(reference, num_samples))
        if self.prob < 1:
            chosen = to_device(self._draws[:, 0] < self.prob, mask.device)
            mask = mask & chosen.view(-1, *(1,) * (mask.ndim - 1))
        mixed = [
            _like(_select(mask, y, x, offset), original, batched)
            for original, x, y in zip(receiver, receivers, donor, strict=True)
        ]
        return tuple(mixed), _like(mask, receiver[0], batched, dtype=bool)


class PasteMixd(MapTransform, RandomizableTransform):
    """
    Base of the dictionary-based mixing transforms: reads the receivers in ``keys``, writes ``output_keys``.

    Args:
        mixer: the array transform.
        keys: receivers, whose metadata the results keep.
        output_keys: where the results go, one for each of ``keys``; None overwrites ``keys``.
        mask_key: where the boolean mask of what was pasted goes; None keeps no mask.
        allow_missing_keys: whether to pass over receivers that are not there.
    """

    backend = PasteMix.backend

    def __init__(
        self,
        mixer: PasteMix,
        keys: KeysCollection,
        output_keys: KeysCollection | None = None,
        mask_key: Hashable | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, mixer.prob)
        self.mixer = mixer
        self.output_keys = self.keys if output_keys is None else ensure_tuple(output_keys)
        if len(self.output_keys) != len(self.keys):
            raise ValueError(f"Every key needs an output key, got {self.keys} and {self.output_keys}.")
        self.mask_key = mask_key

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> PasteMixd:
        super().set_random_state(seed, state)
        self.mixer.set_random_state(seed, state)
        return self

    def mix(
        self, data: Mapping[Hashable, NdarrayOrTensor], keys: Sequence[Hashable]
    ) -> tuple[tuple[NdarrayOrTensor, ...], NdarrayOrTensor]:
        """
        Mix the receivers in ``keys``, all of which are present.

        Returns:
            the mixed receivers and the mask.
        """
        raise NotImplementedError(f"Subclass {self.__class__.__name__} must implement this method.")

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        d = dict(data)
        present = list(self.key_iterator(d, self.output_keys))
        if not present:
            return d
        mixed, mask = self.mix(d, [key for key, _ in present])
        for (_, output_key), value in zip(present, mixed, strict=True):
            d[output_key] = value
        if self.mask_key is not None:
            d[self.mask_key] = mask
        return d

    def _donor_keys(self, donor_keys: Sequence[Hashable | None] | Hashable | None) -> tuple[Hashable | None, ...]:
        """A donor key, or None, for each of ``keys``."""
        donors = ensure_tuple(donor_keys)
        if len(donors) != len(self.keys):
            raise ValueError(f"Every key needs a donor key or None, got {self.keys} and {donors}.")
        return donors

    def _donors(
        self,
        data: Mapping[Hashable, NdarrayOrTensor],
        keys: Sequence[Hashable],
        donor_keys: Sequence[Hashable | None],
    ) -> list[NdarrayOrTensor | None]:
        """What is pasted onto each of the receivers."""
        donor_of = dict(zip(self.keys, donor_keys, strict=True))
        return [None if donor_of[key] is None else self._get(data, donor_of[key]) for key in keys]

    def _get(self, data: Mapping[Hashable, NdarrayOrTensor], key: Hashable) -> NdarrayOrTensor:
        """An entry that is needed whatever ``allow_missing_keys`` says."""
        if key not in data:
            raise KeyError(f"{self.__class__.__name__} needs the key {key!r}, the data has {list(data)}.")
        return data[key]


def to_device(values: np.ndarray, device: torch.device) -> torch.Tensor:
    """Random numbers on the device, without waiting for it."""
    return torch.as_tensor(values).to(device, non_blocking=True)


def as_batch(x: NdarrayOrTensor, batched: bool) -> torch.Tensor:
    """Plain tensor without metadata, in batch form."""
    out: torch.Tensor = convert_to_tensor(x, track_meta=False)
    return out if batched else out[None]


def warn_of_one(receiver: Sequence[NdarrayOrTensor], batched: bool) -> None:
    """Say that a batch of one image cannot be mixed with itself."""
    if batched and len(receiver[0]) == 1:
        warnings.warn("A batch of one image has no other to paste from and stays as it is: use larger batches.")


def _repeat(x: torch.Tensor, num_samples: int) -> torch.Tensor:
    """The batch in which sample i is the sample i mod B of ``x``."""
    if x.shape[0] >= num_samples:
        return x[:num_samples]
    return x[torch.arange(num_samples, device=x.device) % x.shape[0]]


def _select(mask: torch.Tensor, donor: torch.Tensor | None, receiver: torch.Tensor, offset: int) -> torch.Tensor:
    """
    The receiver with, where the mask is true, its donor; in one pass over the bytes, without a reordered copy.

    On tensors without metadata: ``torch.where`` would return the donor's.
    """
    if donor is None:
        return torch.where(mask, torch.ones((), dtype=receiver.dtype, device=receiver.device), receiver)
    donor = donor.to(receiver.dtype)
    out = torch.empty_like(receiver)
    start = 0
    while start < len(receiver):
        first = (start + offset) % len(donor)
        number = min(len(donor) - first, len(receiver) - start)
        rows = slice(start, start + number)
        torch.where(mask[rows], donor[first : first + number], receiver[rows], out=out[rows])
        start += number
    return out


def _like(x: torch.Tensor, original: NdarrayOrTensor, batched: bool, dtype: type | None = None) -> NdarrayOrTensor:
    """``x`` as the container type of ``original``, with its metadata."""
    out: NdarrayOrTensor = convert_to_dst_type(x if batched else x[0], dst=original, dtype=dtype or original.dtype)[0]
    return out
