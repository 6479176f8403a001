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

from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel

from monai_sscm.engines import View
from monai_sscm.losses import WeightedCELoss
from monai_sscm.networks import FeatureDiscriminator
from monai_sscm.transforms import RandStrongIntensity
from tests.engines.test_trainer import make_batches, make_network, make_trainer, supmix

pytestmark = pytest.mark.slow


def rank_main(rank: int, world_size: int, folder: Path, norm: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world_size)
    network = DistributedDataParallel(make_network(norm=norm))
    torch.manual_seed(1)
    discriminator = DistributedDataParallel(FeatureDiscriminator(2, in_channels=4, channels=8))
    batches = [{k: v[rank::world_size] for k, v in batch.items()} for batch in make_batches(4, labeled=4, unlabeled=4)]
    if rank == 1:
        batches[1]["image"] = batches[1]["image"] * float("nan")  # one rank's bad batch stops the step everywhere
    trainer = make_trainer(
        batches,
        network,
        discriminator=discriminator,
        discriminator_optimizer=torch.optim.Adam(discriminator.parameters(), 1e-3),
        feature_layer="model.1.submodule",
        adversarial_weight=0.1,
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
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_two_processes_stay_in_step(tmp_path, norm):
    """Student, teacher and discriminator are the same on both ranks; the views' random numbers are not."""
    multiprocessing.spawn(rank_main, args=(2, tmp_path, norm), nprocs=2)
    got = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    assert got[0][0] == got[1][0]
    assert got[0][1:3] == got[1][1:3] == [1, 3]
    assert got[0][3] != got[1][3]
