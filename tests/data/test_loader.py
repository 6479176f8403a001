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

import collections
from pathlib import Path

import pytest
import torch
from monai.data import CacheDataset, DataLoader, Dataset, IterableDataset
from monai.transforms import Compose, RandSpatialCropd
from torch import distributed, multiprocessing

from monai_sscm.data import SemiSupervisedLoader


def make_dataset(n: int, label: bool = True, crop: bool = False, first: int = 0) -> Dataset:
    """Images whose pixels are all different, so a crop tells where it was taken."""
    grid = torch.arange(64.0).view(1, 8, 8)
    items = [{"image": grid + 100 * (first + i)} | ({"label": torch.zeros(1, 8, 8)} if label else {}) for i in range(n)]
    keys = ["image", "label"] if label else ["image"]
    return Dataset(items, Compose([RandSpatialCropd(keys, roi_size=(2, 2), random_size=False)]) if crop else None)


def indices(batch: torch.Tensor) -> list[int]:
    return (batch.flatten(1)[:, 0] // 100).long().tolist()


@pytest.mark.parametrize(("labeled", "unlabeled"), [(2, 14), (14, 2), (3, 3), (1, 5)])
@pytest.mark.parametrize(("batch_size", "unlabeled_batch_size"), [(4, None), (1, 3), (5, 2)])
def test_any_lengths_and_batch_sizes(labeled, unlabeled, batch_size, unlabeled_batch_size):
    loader = SemiSupervisedLoader(
        make_dataset(labeled),
        make_dataset(unlabeled, label=False),
        batch_size=batch_size,
        unlabeled_batch_size=unlabeled_batch_size,
    )
    other = unlabeled_batch_size or batch_size
    assert len(loader) == max(-(-labeled // batch_size), -(-unlabeled // other))
    counts = collections.Counter(), collections.Counter()
    for batch in loader:
        assert set(batch) == {"image", "label", "unlabeled_image"}
        assert len(batch["image"]) == len(batch["label"]) == batch_size and len(batch["unlabeled_image"]) == other
        counts[0].update(indices(batch["image"]))
        counts[1].update(indices(batch["unlabeled_image"]))
    # every image was seen, none more than once oftener than another
    for count, length in zip(counts, (labeled, unlabeled)):
        assert len(count) == length and max(count.values()) - min(count.values()) <= 1


def orders(loader: SemiSupervisedLoader) -> list[list[int]]:
    return [indices(batch["unlabeled_image"]) for batch in loader]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_reproducible_from_seed_and_epoch(num_workers):
    def make(seed: int) -> SemiSupervisedLoader:
        return SemiSupervisedLoader(
            make_dataset(3, crop=True),
            make_dataset(5, label=False, crop=True),
            make_dataset(3, crop=True),
            batch_size=4,
            epoch_length=3,
            seed=seed,
            num_workers=num_workers,
        )

    def epoch(loader: SemiSupervisedLoader) -> torch.Tensor:
        return torch.cat([torch.cat([b["image"], b["unlabeled_image"], b["donor_image"]]) for b in loader]).as_tensor()

    a, b, c = make(0), make(0), make(1)
    torch.manual_seed(5)  # what happens elsewhere does not matter
    first = epoch(a)
    torch.manual_seed(6)
    assert torch.equal(first, epoch(b))
    assert not torch.equal(first, epoch(c))
    second = epoch(a)
    assert not torch.equal(first, second)
    # an epoch can be asked for by its number, as after a restart
    fresh = make(0)
    fresh.set_epoch(2)
    assert torch.equal(epoch(fresh), second)
    assert not torch.equal(epoch(fresh), second)  # and the next iteration is epoch 3


@pytest.mark.parametrize("num_workers", [0, 2])
def test_streams_of_the_same_images_have_seeds_of_their_own(num_workers):
    loader = SemiSupervisedLoader(
        make_dataset(1, crop=True),
        make_dataset(1, label=False, crop=True),
        make_dataset(1, crop=True),
        batch_size=8,
        num_workers=num_workers,
    )
    batch = next(iter(loader))
    assert not torch.equal(batch["image"], batch["donor_image"])
    assert not torch.equal(batch["image"], batch["unlabeled_image"])
    # the trap: two MONAI loaders built in a row give their transforms the same seed
    torch.manual_seed(0)
    loaders = [DataLoader(make_dataset(8, crop=True), batch_size=8) for _ in range(2)]
    a, b = (next(iter(x))["image"] for x in loaders)
    assert torch.equal(a, b)


def test_no_mask_is_opened_on_the_unlabeled_side():
    opened = []

    def watch(item):
        opened.extend(item)
        return item

    items = [{"image": torch.zeros(1, 4, 4)}] * 3
    loader = SemiSupervisedLoader(make_dataset(2), Dataset(items, watch), batch_size=2)
    assert list(next(iter(loader))) == ["image", "label", "unlabeled_image"]
    assert set(opened) == {"image"}
    with pytest.raises(ValueError, match="without masks"):
        next(iter(SemiSupervisedLoader(make_dataset(2), make_dataset(2), batch_size=2)))


def test_supervised_only_and_cached():
    loader = SemiSupervisedLoader(CacheDataset(make_dataset(3).data, progress=False), batch_size=2)
    assert len(loader) == 2 and [list(batch) for batch in loader] == [["image", "label"]] * 2


def test_refused():
    with pytest.raises(ValueError, match="no unlabeled images"):
        SemiSupervisedLoader(make_dataset(1), Dataset([]))
    with pytest.raises(ValueError, match="labeled data set has no length"):
        SemiSupervisedLoader(IterableDataset([1]))
    with pytest.raises(ValueError, match="persistent_workers"):
        SemiSupervisedLoader(make_dataset(1), num_workers=1, persistent_workers=True)


def rank_main(rank: int, world_size: int, folder: Path) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world_size)
    loader = SemiSupervisedLoader(
        make_dataset(3, crop=True), make_dataset(11, label=False), batch_size=2, epoch_length=5, seed=4
    )
    torch.save([orders(loader), loader_crops(loader)], folder / f"{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


def loader_crops(loader: SemiSupervisedLoader) -> list[float]:
    loader.set_epoch(1)
    return torch.cat([batch["image"] for batch in loader]).flatten().tolist()


@pytest.mark.slow
def test_ranks_share_each_order(tmp_path):
    multiprocessing.spawn(rank_main, args=(2, tmp_path), nprocs=2)
    got = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    single = SemiSupervisedLoader(make_dataset(3), make_dataset(11, label=False), batch_size=4, epoch_length=5, seed=4)
    for one, a, b in zip(orders(single), got[0][0], got[1][0]):
        assert sorted(one) == sorted(a + b)  # two processes with half the batch see what one would have seen
    assert got[0][1] != got[1][1]  # and crop on their own


def test_a_group_counts_once_in_an_order():
    """Ten slices of one scan and one each of two others: every order has one of each, and in time all slices come."""
    groups = ["long"] * 10 + ["a", "b"]
    loader = SemiSupervisedLoader(
        make_dataset(2), make_dataset(12, label=False), batch_size=3, unlabeled_groups=groups, epoch_length=40
    )
    batches = [indices(batch["unlabeled_image"]) for batch in loader]
    assert all(sorted(groups[i] for i in batch) == ["a", "b", "long"] for batch in batches)
    assert len({i for batch in batches for i in batch}) == 12
    assert batches[0] != batches[1]
    again = SemiSupervisedLoader(
        make_dataset(2), make_dataset(12, label=False), batch_size=3, unlabeled_groups=groups, epoch_length=40
    )
    assert [indices(batch["unlabeled_image"]) for batch in again] == batches
    # groups of one are what there is without groups
    plain, single = (
        SemiSupervisedLoader(make_dataset(2), make_dataset(5, label=False), unlabeled_groups=g)
        for g in (None, range(5))
    )
    assert orders(plain) == orders(single)
    with pytest.raises(ValueError, match="names 3 groups, there are 5 unlabeled images"):
        SemiSupervisedLoader(make_dataset(2), make_dataset(5, label=False), unlabeled_groups=[0, 1, 1])


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("align", [True, False])
def test_donors_are_cropped_where_their_receivers_are(num_workers, align):
    loader = SemiSupervisedLoader(
        make_dataset(3, crop=True),
        make_dataset(5, label=False, crop=True),
        make_dataset(3, crop=True),
        align_donors=align,
        epoch_length=6,
        num_workers=num_workers,
    )
    same_place, same_image = [], []
    for batch in loader:
        # a pixel's value is its image times 100 plus its place
        receiver, donor = (batch[f"{key}image"][:, 0, 0, 0].long() for key in ("unlabeled_", "donor_"))
        same_place += (receiver % 100 == donor % 100).tolist()
        same_image += (receiver // 100 == donor // 100).tolist()
    assert all(same_place) == align
    assert not all(same_image)
    # without unlabelled images, those that they are pasted onto are the labelled ones
    supervised = SemiSupervisedLoader(
        make_dataset(3, crop=True),
        donor=make_dataset(3, crop=True),
        align_donors=align,
        epoch_length=6,
        num_workers=num_workers,
    )
    places = [[batch[f"{key}image"][:, 0, 0, 0].long() % 100 for key in ("", "donor_")] for batch in supervised]
    assert all(torch.equal(receiver, donor) for receiver, donor in places) == align
    with pytest.raises(ValueError, match="there must be as many donors in a batch as unlabeled images"):
        SemiSupervisedLoader(
            make_dataset(3), make_dataset(5, label=False), make_dataset(3), align_donors=True, donor_batch_size=2
        )
