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

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.data import Dataset
from monai.engines.utils import IterationEvents
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from monai_sscm.data import SemiSupervisedLoader
from monai_sscm.engines import View
from monai_sscm.losses import WeightedCELoss
from monai_sscm.networks import FeatureDiscriminator
from monai_sscm.transforms import RandStrongIntensity
from tests.helpers.training import make_batches, make_network, make_trainer, supmix

pytestmark = pytest.mark.slow


def join(rank: int, world_size: int, folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world_size)


def leave() -> None:
    distributed.barrier()
    distributed.destroy_process_group()
    # what is tested is saved, and at the interpreter's end a process now and then aborts in a thread of PyTorch's; that
    # real trainings end with status 0 is tested by torchrun, in tests/bundles/test_monai_checks.py
    os._exit(0)


def sufd(discriminator: nn.Module) -> dict[str, Any]:
    return {
        "discriminator": discriminator,
        "discriminator_optimizer": torch.optim.Adam(discriminator.parameters(), 1e-3),
        "feature_layer": "model.1.submodule",
        "adversarial_weight": 0.1,
    }


def rank_main(rank: int, world_size: int, folder: Path, norm: str) -> None:
    join(rank, world_size, folder)
    network = DistributedDataParallel(make_network(norm=norm))
    torch.manual_seed(1)
    discriminator = DistributedDataParallel(FeatureDiscriminator(2, in_channels=4, channels=8))
    batches = [{k: v[rank::world_size] for k, v in batch.items()} for batch in make_batches(4, labeled=4, unlabeled=4)]
    if rank == 1:
        batches[1]["image"] = batches[1]["image"] * float("nan")  # one rank's bad batch stops the step everywhere
    trainer = make_trainer(
        batches,
        network,
        **sufd(discriminator),
        adversarial_interval=2,
        views=[View(mix=supmix(prob=0.5), augment=RandStrongIntensity(2), loss=WeightedCELoss())],
    )
    draws: list[float] = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: draws.append(e.state.views[0]["image"].sum().item())
    )
    trainer.run()
    parameters = [dict(m.named_parameters()) for m in (network.module, discriminator.module)]
    states = [*parameters, trainer.teacher.state_dict()]
    values = [torch.cat([v.flatten() for v in state.values()]).tolist() for state in states]
    torch.save([values, trainer.state.skipped_steps, trainer.state.optimizer_steps, draws[0]], folder / f"{rank}.pt")
    leave()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_two_processes_stay_in_step(tmp_path, norm):
    """Student, teacher and discriminator are the same on both ranks; the views' random numbers are not."""
    multiprocessing.spawn(rank_main, args=(2, tmp_path, norm), nprocs=2)
    got = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    assert got[0][0] == got[1][0]
    assert got[0][1:3] == got[1][1:3] == [1, 3]
    assert got[0][3] != got[1][3]


def train_and_keep_gradients(batches: list[dict], wrap: type[nn.Module] | None) -> list[torch.Tensor]:
    """Gradients of student and discriminator at every step of SupMix + SUFD without random numbers."""
    torch.manual_seed(1)
    network, discriminator = make_network(), FeatureDiscriminator(2, in_channels=4, channels=8)
    if wrap is not None:
        network, discriminator = wrap(network), wrap(discriminator)
    trainer = make_trainer(
        batches,
        network,
        **sufd(discriminator),
        views=[View(mix=supmix(), loss=WeightedCELoss())],
    )
    kept: list[torch.Tensor] = []

    def keep() -> None:
        parameters = [*trainer.network.parameters(), *trainer.feature_alignment.discriminator.parameters()]
        kept.append(torch.cat([p.grad.flatten().clone() for p in parameters]))

    trainer.add_event_handler(IterationEvents.BACKWARD_COMPLETED, keep)
    trainer.run()
    kept.append(torch.cat([v.flatten() for v in trainer.teacher.state_dict().values()]))
    return kept


def rank_gradients(rank: int, world_size: int, folder: Path) -> None:
    join(rank, world_size, folder)
    batches = [{k: v[rank::world_size] for k, v in batch.items()} for batch in make_batches(4, labeled=4, unlabeled=4)]
    torch.save(train_and_keep_gradients(batches, DistributedDataParallel), folder / f"{rank}.pt")
    leave()


def test_two_processes_have_the_gradients_of_one(tmp_path):
    """The same images in one process or in two; losses that are means over samples, and no batch statistics."""
    multiprocessing.spawn(rank_gradients, args=(2, tmp_path), nprocs=2)
    one = train_and_keep_gradients(make_batches(4, labeled=4, unlabeled=4), None)
    for rank in range(2):
        two = torch.load(tmp_path / f"{rank}.pt")
        assert len(one) == len(two) == 5
        for a, b in zip(one, two):
            assert a.abs().max() > 1e-3
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def rank_unequal(rank: int, world_size: int, folder: Path) -> None:
    join(rank, world_size, folder)
    streams = {name: [*range(n)] for name, n in {"labeled": 3, "unlabeled": 5, "donor": 1}.items()}
    label = torch.zeros(1, 16, 16, dtype=torch.long)
    label[:, 4:8] = 1
    datasets = {
        name: Dataset(
            [{"image": torch.rand(1, 16, 16), **({"label": label} if name != "unlabeled" else {})} for _ in images]
        )
        for name, images in streams.items()
    }
    loader = SemiSupervisedLoader(**datasets, batch_size=2)
    network = DistributedDataParallel(make_network())
    trainer = make_trainer(loader, network, epochs=2, views=[View(mix=supmix(), loss=WeightedCELoss())])
    trainer.run()
    weights = torch.cat([v.flatten() for v in trainer.teacher.state_dict().values()])
    torch.save([len(loader), trainer.state.iteration, weights], folder / f"{rank}.pt")
    leave()


def test_numbers_of_images_that_do_not_divide_among_the_processes(tmp_path):
    multiprocessing.spawn(rank_unequal, args=(2, tmp_path), nprocs=2)
    one, two = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert one[:2] == two[:2] == [2, 4] and torch.equal(one[2], two[2])
