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


"""What a training and its checkpoint must agree on; each by the very command that a user types."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from monai_sscm.bundle import run_config
from monai_sscm.command_line import as_command_line, learned_parts
from monai_sscm.errors import root_cause
from monai_sscm.handlers import has_checkpoint
from tests.helpers.bundles import BUNDLES

VALUES = {"num_labeled": 2, "zoom": 1.0, "patch_size": [16, 16], "channels": [4, 8], "strides": [2], "batch_size": 1}
VALUES |= {"method": "classmix", "max_epochs": 1, "epoch_length": 1, "val_interval": 1, "device": "cpu"}
VALUES |= {"feature_layer": "model.0", "feature_channels": 4}


def train(bundle: Path, data: Path, run: Path, **values) -> None:
    run_config([bundle / "configs" / "train.yaml"], {**VALUES, "dataset_dir": data, "output_dir": run, **values})


@pytest.fixture(scope="module")
def trained(vessel_phantoms, tmp_path_factory) -> Path:
    """A copy of a bundle, a data set, and a training of one step that started from weights."""
    root = tmp_path_factory.mktemp("trained")
    shutil.copytree(vessel_phantoms, root / "data")
    for path in (root / "data").glob("*/*.png"):
        Image.open(path).save(path, compress_level=0)  # all of one size
    shutil.copytree(BUNDLES / "chase_vessel_segmentation", root / "bundle")
    for file in (root / "bundle" / "models").iterdir():
        file.unlink()
    train(root / "bundle", root / "data", root / "first", seed=1)
    overrides = {"lr_scheduler#power": 0.7}
    train(root / "bundle", root / "data", root / "run", init_from=root / "first", **overrides)
    return root


@pytest.fixture
def root(trained, tmp_path) -> Path:
    """As it was, to be changed."""
    shutil.copytree(trained, tmp_path / "root")
    return tmp_path / "root"


def resume(root: Path, bundle: str = "bundle", **values) -> dict:
    """The training goes on for another step; returns its checkpoint."""
    given = {"init_from": root / "first", "lr_scheduler#power": 0.7, **values}
    given = {name: value for name, value in given.items() if value != ""}
    train(root / bundle, root / "data", root / "run", resume=True, max_epochs=2, **given)
    return torch.load(root / "run" / "states" / "last.pt", weights_only=True)


def rewrite(path: Path, **parts) -> None:
    config = yaml.safe_load(path.read_text("utf-8"))
    path.write_text(yaml.safe_dump(config | parts), "utf-8")


def test_it_goes_on_by_the_command_and_by_the_configuration_of_its_folder(root):
    before = torch.load(root / "run" / "states" / "last.pt", weights_only=True)
    assert before["init_from"]["file"].endswith("first/models/model.pt") and before["parts"]["loss"]
    assert resume(root)["trainer"]["iteration"] == 2
    shutil.rmtree(root / "run")
    shutil.copytree(root.parent / "root" / "first", root / "run")  # another, without the override
    train(root / "run", root / "data", root / "run", resume=True, max_epochs=2, seed=1)
    after = torch.load(root / "run" / "states" / "last.pt", weights_only=True)
    assert after["trainer"]["iteration"] == 2


def test_what_was_given_at_the_start_may_be_left_out_in_its_folder(root):
    shutil.rmtree(root / "first")  # its weights are in the checkpoint
    values = {"init_from": "null", "lr_scheduler#power": ""}
    assert resume(root, "run", **values)["init_from"]["file"].endswith("first/models/model.pt")


def parts(path: Path, **options) -> dict[str, str]:
    with as_command_line([path, path.with_name("multi_gpu_train.yaml")], options):
        return learned_parts("supmix_sufd")


def test_parts_of_a_configuration(tmp_path):
    """Those that say what is learned differ where they are changed, in the file or by the command; no others."""
    shutil.copytree(BUNDLES / "chase_vessel_segmentation" / "configs", tmp_path / "configs")
    path = tmp_path / "configs" / "train.yaml"
    before = parts(path)
    assert {"loss", "methods#supmix_sufd", "train#dataloader", "see", "crops"} <= set(before)
    assert not {"learning_rate", "validate", "methods#bcp", "train#handlers", "checkpoint_handler"} & set(before)
    for values in ({"seed": 3}, {"validate#inferer": {}}, {"output_dir": "elsewhere"}):
        assert parts(path, **values) == before
    config = yaml.safe_load(path.read_text("utf-8"))
    config["methods"]["bcp"] = {"views": []}
    path.write_text("# mine\n" + yaml.safe_dump(config, sort_keys=True), "utf-8")
    assert parts(path) == before  # comments, order and other methods
    for part, changed in (
        ("loss", "loss"),
        ("train#dataloader#batch_size", "train#dataloader"),
        ("flip#0#turn", "flip"),
    ):
        found = parts(path, **{part: 1})
        assert {name for name in before if found[name] != before[name]} == {changed}
    config["methods"]["supmix_sufd"] = {**config["methods"]["supmix_sufd"], "more": 1}
    config["mine"] = 1
    path.write_text(yaml.safe_dump(config), "utf-8")
    found = parts(path)
    assert {name for name in found if found[name] != before.get(name)} == {"methods#supmix_sufd", "mine"}


def change_a_mask(root: Path) -> None:
    """Turned by half: the file has the name and the size that it had."""
    for path in (root / "data" / "labels").iterdir():
        size = path.stat().st_size
        Image.fromarray(np.flip(np.array(Image.open(path)))).save(path, compress_level=0)
        assert path.stat().st_size == size


def change_the_method(root: Path) -> None:
    path = root / "bundle" / "configs" / "train.yaml"
    methods = yaml.safe_load(path.read_text("utf-8"))["methods"]
    methods["classmix"]["views"][0]["weight"] = 0.1
    rewrite(path, methods=methods)


@pytest.mark.parametrize(
    ("change", "values", "message"),
    [
        (change_a_mask, {}, r"labeled images: 2 with other contents of the mask \(images/phantom_"),
        (change_the_method, {}, "another configuration, which differs in `methods#classmix`"),
        (None, {"init_from": "chase_vessel_segmentation"}, "started from '.*first.models.model.pt', not from '.*chase"),
        (None, {"lr_scheduler#power": 0.5}, "lr_scheduler#power=0.7, this one has lr_scheduler#power=0.5"),
    ],
)
def test_what_changes_what_is_learned_is_refused(root, change, values, message):
    if change is not None:
        change(root)
    before = (root / "run" / "states" / "last.pt").read_bytes()
    with pytest.raises(Exception, match=message) as error:
        try:
            resume(root, **values)
        except RuntimeError as e:
            raise root_cause(e) from None
    assert isinstance(error.value, ValueError)
    assert (root / "run" / "states" / "last.pt").read_bytes() == before


def test_weights_are_taken_where_there_is_no_checkpoint_yet(root):
    """As of a training that was killed while it saved the first."""
    for path in (root / "run" / "states").iterdir():
        path.unlink()
    (root / "run" / "states" / "last.pt.part").write_bytes(b"half")
    assert not has_checkpoint(root / "run")
    train(root / "bundle", root / "data", root / "run", resume=True, init_from=root / "first", learning_rate=1e-12)
    first, run = (torch.load(root / name / "models" / "model.pt", weights_only=True) for name in ("first", "run"))
    assert all(torch.allclose(run[name], first[name], atol=1e-6) for name in first)
