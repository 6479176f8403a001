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

"""Batches of labelled, unlabelled and donor images side by side."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterator, Sequence, Sized
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from monai.data import DataLoader
from monai.data.utils import set_rnd
from torch.utils.data import Dataset, Sampler

__all__ = ["SemiSupervisedLoader"]


_CURE = {
    "labeled": "add images with masks",
    "unlabeled": "add images without masks, give a smaller `num_labeled`, or set `method` to supervised",
    "donor": "the method pastes from labeled ones; a client of a federation that has none trains with `method` "
    "fixmatch or mean_teacher, and `supervised_weight` 0",
}


class SemiSupervisedLoader:
    """
    Pairs a labelled and an unlabelled stream of any lengths, and a donor stream if there is one, into flat batches.

    Every data set is repeated in ever new random orders, so two labelled images fill batches of four, batches are never
    short, and no stream ends before the other. What the streams bring is merged: labelled keys as they are, unlabelled
    keys as ``unlabeled_<key>``, donor keys as ``donor_<key>``. Donors are labelled images with their own crops and
    augmentation, paired with the receivers at random.

    The unlabelled data set must not bring a ``label``; nothing here opens one.

    Orders and random transforms depend on ``seed``, the epoch and the rank alone, not on what ran before; the
    streams have seeds of their own, so a labelled and a donor data set of the same images give different crops. The
    transforms of different data sets must be different objects. Under ``torch.distributed`` every rank takes its share
    of each batch order, and ``batch_size`` is that of one rank.

    Args:
        labeled: data set of dictionaries with ``image`` and ``label``. None: none; then the batches' ``image`` and
            ``label`` are empty, for a trainer whose ``supervised_weight`` is 0.
        unlabeled: data set of dictionaries with ``image``. None: none, for supervised training.
        donor: data set of dictionaries with ``image`` and ``label``. None: none; use the labelled batch as donor.
        batch_size: images of each stream in a batch; or
        unlabeled_batch_size, donor_batch_size: another number for that stream.
        unlabeled_groups: the group of every unlabelled image, such as the scan that a slice is of. Then each order has
            one random image of every group, so that a scan of many slices counts no more than one of few. None: each
            image is a group of its own.
        align_donors: whether a donor is cropped and flipped as the image that it is pasted onto, the unlabelled one or,
            where there is none, the labelled one, for images in which a place means the same, as in slices that are
            cropped to the lungs. Both data sets then need the same random transforms, in copies of their own.
        epoch_length: batches in an epoch. None: as many as it takes to see every image of the longest stream.
        num_workers: processes that load each stream; 0 loads in this one.
        seed: see above.
        kwargs: further arguments of the streams' :py:class:`monai.data.DataLoader`, such as ``pin_memory``.

    Raises:
        ValueError: when a data set is empty or has no length, unlabelled images come with labels, or workers are to
            persist.

    Example:
        >>> import torch
        >>> from monai.data import Dataset
        >>> from monai_sscm.data import SemiSupervisedLoader
        >>> labeled = Dataset([{"image": torch.rand(1, 8, 8), "label": torch.zeros(1, 8, 8)}] * 2)
        >>> unlabeled = Dataset([{"image": torch.rand(1, 8, 8)}] * 14)
        >>> loader = SemiSupervisedLoader(labeled, unlabeled, batch_size=4)
        >>> len(loader), {key: tuple(value.shape) for key, value in next(iter(loader)).items()}
        (4, {'image': (4, 1, 8, 8), 'label': (4, 1, 8, 8), 'unlabeled_image': (4, 1, 8, 8)})
    """

    def __init__(
        self,
        labeled: Dataset | None,
        unlabeled: Dataset | None = None,
        donor: Dataset | None = None,
        batch_size: int = 4,
        unlabeled_batch_size: int | None = None,
        donor_batch_size: int | None = None,
        unlabeled_groups: Sequence[Hashable] | None = None,
        align_donors: bool = False,
        epoch_length: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if kwargs.get("persistent_workers"):
            raise ValueError("`persistent_workers` would keep random numbers from one epoch to the next: leave it out.")
        receivers = batch_size if unlabeled is None else unlabeled_batch_size or batch_size
        if align_donors and receivers != (donor_batch_size or batch_size):
            raise ValueError(
                "With `align_donors` there must be as many donors in a batch as unlabeled images, or, if "
                "there are none, labeled ones."
            )
        self.align_donors = align_donors
        self.seed = seed
        self.epoch = 0
        self.start = 0
        self._announced = False
        streams = {
            "": (labeled, batch_size),
            "unlabeled_": (unlabeled, unlabeled_batch_size or batch_size),
            "donor_": (donor, donor_batch_size or batch_size),
        }
        sizes = {prefix: (dataset, size) for prefix, (dataset, size) in streams.items() if dataset is not None}
        if labeled is None and unlabeled is None:
            raise ValueError("There are neither labeled nor unlabeled images: give a data set of one kind at least.")
        lengths: dict[str, int] = {}
        for prefix, (dataset, _) in sizes.items():
            name = prefix.rstrip("_") or "labeled"
            if not isinstance(dataset, Sized):
                raise ValueError(f"The {name} data set has no length: use a map-style data set.")
            lengths[prefix] = len(dataset)
            if lengths[prefix] == 0:
                raise ValueError(f"There are no {name} images: {_CURE[name]}.")
        groups: dict[str, Sequence[Hashable]] = {prefix: range(length) for prefix, length in lengths.items()}
        if unlabeled is not None and unlabeled_groups is not None:
            if len(unlabeled_groups) != lengths["unlabeled_"]:
                raise ValueError(
                    f"`unlabeled_groups` names {len(unlabeled_groups)} groups, there are {lengths['unlabeled_']} "
                    "unlabeled images: name one for each."
                )
            groups["unlabeled_"] = unlabeled_groups
        if epoch_length is None:
            world_size = idist.get_world_size()
            epoch_length = max(math.ceil(lengths[prefix] / (size * world_size)) for prefix, (_, size) in sizes.items())
        self.epoch_length = epoch_length
        self.streams = {
            prefix: DataLoader(
                dataset,
                batch_size=size,
                sampler=_EndlessSampler(groups[prefix], epoch_length * size),
                num_workers=num_workers,
                generator=torch.Generator(),
                **kwargs,
            )
            for prefix, (dataset, size) in sizes.items()
        }

    def __len__(self) -> int:
        return self.epoch_length

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """
        Choose the epoch of the next iteration over the loader; without this, each iteration is the next epoch.

        Args:
            epoch: number of the epoch, from 1 as in ignite.
            start: batches that are left out, for a training that was stopped within the epoch. They are loaded all the
                same, so that the random numbers of the others stay as they would have been.
        """
        self.epoch = epoch
        self.start = start
        self._announced = True

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if not self._announced:
            self.epoch += 1
            self.start = 0
        self._announced = False
        rank = idist.get_rank()
        streams = list(self.streams)
        for stream, (prefix, loader) in enumerate(self.streams.items()):
            loader.sampler.seed = [self.seed, self.epoch, stream]  # type: ignore[attr-defined]
            # the same random transforms from the same seed crop and flip alike
            receivers = "unlabeled_" if "unlabeled_" in streams else ""
            twin = receivers if self.align_donors and prefix == "donor_" else prefix
            entropy = [self.seed, self.epoch, streams.index(twin), rank]
            transform_seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
            loader.generator.manual_seed(transform_seed)
            if loader.num_workers == 0:
                # with workers, each seeds its copy of the transforms from the generator
                set_rnd(loader.dataset, transform_seed)
        return itertools.islice(self._batches(), self.start, None)

    def _batches(self) -> Iterator[dict[str, Any]]:
        for batches in zip(*self.streams.values(), strict=True):
            merged: dict[str, Any] = {}
            for prefix, batch in zip(self.streams, batches, strict=True):
                if prefix == "unlabeled_" and "label" in batch:
                    raise ValueError(
                        "The unlabeled data set brings 'label': list unlabeled images without masks, so that none is "
                        "opened."
                    )
                merged.update({f"{prefix}{key}": value for key, value in batch.items()})
            if "" not in self.streams:
                unlabeled = torch.as_tensor(merged["unlabeled_image"])
                merged.update(image=unlabeled[:0], label=unlabeled[:0, :1])
            yield merged


class _EndlessSampler(Sampler[int]):
    """Indices in one random order after another, this rank's share of them; in an order, one index of every group."""

    def __init__(self, groups: Sequence[Hashable], num_samples: int) -> None:
        self.num_samples = num_samples
        self.seed: list[int] = [0]
        members: dict[Hashable, list[int]] = {}
        for i, group in enumerate(groups):
            members.setdefault(group, []).append(i)
        self.members = list(members.values())

    def __len__(self) -> int:
        return self.num_samples

    def __iter__(self) -> Iterator[int]:
        rank, world_size = idist.get_rank(), idist.get_world_size()
        # RandomState's numbers are the same in every version of numpy
        random = np.random.RandomState(np.random.SeedSequence(self.seed).generate_state(4))
        orders = math.ceil(self.num_samples * world_size / len(self.members))
        indices = []
        for _ in range(orders):
            for k in random.permutation(len(self.members)):
                group = self.members[k]
                indices.append(group[0] if len(group) == 1 else group[random.randint(len(group))])
        yield from indices[rank : self.num_samples * world_size : world_size]
