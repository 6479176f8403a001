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
from monai.data import Dataset
from monai.losses import DiceCELoss
from monai.networks.nets import UNet

import monai_sscm.methods
from monai_sscm.data import SemiSupervisedLoader
from monai_sscm.engines import SemiSupervisedTrainer
from monai_sscm.methods import METHODS, build_method, choose


def test_every_file_is_a_method_and_says_what_it_is():
    files = {path.stem for path in Path(monai_sscm.methods.__file__).parent.glob("*.yaml")}
    assert files == set(METHODS)
    for name, method in METHODS.items():
        assert method.name == name and method.title and set(method.config["streams"]) <= {"unlabeled", "donor"}


def test_an_unknown_method_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="There is no method 'clasmix': choose among supervised, "):
        choose(METHODS, "clasmix")
    with pytest.raises(ValueError, match="There is no method 'clasmix'"):
        build_method("clasmix", num_classes=2, spatial_dims=2)
    with pytest.raises(ValueError, match="There is no option 'margin': the methods have .*paste_margin"):
        build_method("supmix", num_classes=2, spatial_dims=2, margin=3)
    with pytest.raises(ValueError, match="`paste_margin` must be a whole number"):
        build_method("supmix", num_classes=2, spatial_dims=2, paste_margin=-3)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_in_a_script(name, spatial_dims):
    torch.manual_seed(0)
    size = (16,) * spatial_dims
    items = [{"image": torch.rand(1, *size), "label": torch.randint(0, 3, (1, *size))} for _ in range(3)]
    without = [{"image": item["image"]} for item in items]
    streams = METHODS[name].config["streams"]
    loader = SemiSupervisedLoader(
        labeled=Dataset(items),
        unlabeled=Dataset(without) if "unlabeled" in streams else None,
        donor=Dataset(items) if "donor" in streams else None,
        batch_size=2,
        epoch_length=4,
    )
    network = UNet(spatial_dims=spatial_dims, in_channels=1, out_channels=3, channels=(4, 8, 16), strides=(2, 2))
    trainer = SemiSupervisedTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=loader,
        network=network,
        optimizer=torch.optim.AdamW(network.parameters(), 1e-3),
        loss_function=DiceCELoss(softmax=True, to_onehot_y=True),
        decollate=False,
        **build_method(name, 3, spatial_dims, paste_classes=[1, 2], max_epochs=1, epoch_length=4, rampup_steps=0),
    )
    trainer.run()
    assert trainer.state.optimizer_steps == 4 and torch.isfinite(trainer.state.output["loss"])
