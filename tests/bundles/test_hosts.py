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

"""What hosts of bundles rely on: their epochs, images and weights are the training's, masks those of predict."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.bundle import ConfigParser
from monai.transforms import LoadImage
from PIL import Image

from monai_sscm.bundle import bundle_root, find_bundle
from monai_sscm.cli.main import main
from monai_sscm.datasets import write_vessel_phantoms
from monai_sscm.errors import root_cause
from monai_sscm.io import PictureReader, VolumeReader
from monai_sscm.networks import load_weights
from tests.helpers.bundles import BUNDLES, workflow
from tests.helpers.hosts import as_deploy, as_label, parsed
from tests.helpers.volumes import oblique_volume, write_organ_phantoms

NAMES = sorted(path.parent.parent.name for path in BUNDLES.glob("*/models/model.pt"))


@pytest.mark.parametrize("name", NAMES)
def test_a_host_s_epochs_and_images_are_the_training_s(phantoms, tmp_path, name):
    """Label and federated clients set the trainer's epochs and the labelled images, and nothing else."""
    parser = ConfigParser()
    parser.read_config(str(BUNDLES / name / "configs" / "train.yaml"))
    parser.update({"dataset_dir": str(phantoms[name]), "output_dir": str(tmp_path), "epoch_length": 7})
    parser.update({"bundle_root": str(BUNDLES / name), "method": "supmix"})
    own = parser.get_parsed_content("datalist")
    theirs = {"train#dataset#data": own["test"][:2], "validate#dataset#data": own["val"][:1]}
    for key, value in {**theirs, "train#trainer#max_epochs": 3}.items():
        parser[key] = value
    parser.parse()
    assert parser.get_parsed_content("lr_scheduler").total_iters == 21
    assert parser.get_parsed_content("methods#bcp#pretraining_steps") == 5
    assert parser.get_parsed_content("methods#mean_teacher#views")[0].weight.steps == 21
    for stream in ("dataset", "donor_dataset"):
        images = [item["image"] for item in parser.get_parsed_content(f"train#{stream}").data]
        assert images == [item["image"] for item in own["test"][:2]]
    listed = parser.get_parsed_content("listed")
    assert [len(listed[part]) for part in ("labeled", "val")] == [2, 1] and listed["unlabeled"] == own["unlabeled"]
    assert len(parser.get_parsed_content("validate#dataset")) == 1
    parser["validate#dataset#data"] = []
    parser.parse()
    assert parser.get_parsed_content("validate#evaluator") is None  # no validation


def test_a_host_s_weights_are_where_student_and_teacher_start(phantoms, tmp_path):
    """MONAI's loader among the handlers; a resumed training goes on from its own weights."""
    name = "chase_vessel_segmentation"
    model = str(BUNDLES / name / "models" / "model.pt")
    loader = {"_target_": "CheckpointLoader", "load_path": model, "load_dict": {"model": "@network"}, "strict": False}
    config = ConfigParser.load_config_file(str(BUNDLES / name / "configs" / "train.yaml"))
    handlers = [loader, *config["train"]["handlers"]]
    values = {**_shape(name), "train#handlers": handlers, "method": "supervised", "epoch_length": 2, "max_epochs": 1}

    def trained(**more):
        run = workflow(phantoms[name], tmp_path, **values, **more)
        run.initialize()
        run.run()
        return run.trainer

    trainer = trained(learning_rate=1e-12)
    shipped = torch.load(model, weights_only=True)
    for network in (trainer.network, trainer.teacher):
        assert all(torch.allclose(x, shipped[key], atol=1e-6) for key, x in network.state_dict().items())
    assert not trainer.teacher_warmup
    # other weights, which the teacher must keep over those that the host loads again
    states = tmp_path / "states" / "last.pt"
    state = torch.load(states, weights_only=True)
    state["trainer"]["teacher"] = state["teacher"] = {key: x + 1 for key, x in state["teacher"].items()}
    torch.save(state, states)
    resumed = trained(learning_rate=1e-12, resume=True)
    assert all(torch.allclose(x, shipped[key] + 1, atol=1e-6) for key, x in resumed.teacher.state_dict().items())


def _shape(name: str) -> dict:
    settings = ConfigParser.load_config_file(str(BUNDLES / name / "models" / "settings.json"))
    return {key: settings[key] for key in ("channels", "strides", "in_channels")}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> dict[str, Path]:
    """The shipped bundles with weights, and one that was planned, whose network sees resampled volumes."""
    root = tmp_path_factory.mktemp("planned")
    write_organ_phantoms(root / "data", {"train": 3})
    small = {"max_epochs": 1, "epoch_length": 40, "channels": "[8,16]", "strides": "[2]", "patch_size": "[16,16,16]"}
    small |= {"spacing": "[1.2,1.2,1.2]", "num_labeled": 2, "method": "supervised", "device": "cpu"}
    words = [word for name, value in small.items() for word in (f"--{name}", str(value))]
    main(["train", str(root / "data"), "--output_dir", str(root / "organ"), *words])
    return {**{name: BUNDLES / name for name in NAMES}, "organ": root / "organ"}


def images_for(name: str, folder: Path) -> list[Path]:
    """What a bundle segments: a photograph, or volumes that are stored in three ways."""
    folder.mkdir()
    if name == "chase_vessel_segmentation":
        write_vessel_phantoms(folder / "data", num_train=1, num_val=1, num_test=1, size=96)
        pixels = np.asarray(Image.open(next((folder / "data" / "images").iterdir())).convert("RGB"))[:, :70]
        shutil.rmtree(folder / "data")
        Image.fromarray(pixels).save(folder / "photograph.png")
        return [folder / "photograph.png"]
    if name == "covid19_ct_segmentation":
        volume = oblique_volume(slices=3)
    else:
        write_organ_phantoms(folder / "data", {"train": 1})
        volume = sitk.ReadImage(str(next((folder / "data" / "images").iterdir())))
        shutil.rmtree(folder / "data")
    for code in ("LPS", "RAS", "PIR"):
        sitk.WriteImage(sitk.DICOMOrient(volume, code), str(folder / f"{code}.nii.gz"))
    return sorted(folder.iterdir())


@pytest.mark.parametrize("name", [*NAMES, "organ"])
def test_masks_in_hosts_are_those_of_predict(bundles, tmp_path, name):
    """One at a time as Label does, and as tensors without files as Deploy does; and they are what metadata say."""
    paths = images_for(name, tmp_path / "in")
    model = str(bundles[name])
    main(["predict", str(tmp_path / "in"), "--model", model, "--output_dir", str(tmp_path / "out"), "--device", "cpu"])
    for path in paths:
        picture = path.suffix == ".png"
        stem = path.name.split(".")[0]
        written = tmp_path / "out" / f"{stem}_seg{path.name.removeprefix(stem)}"
        if picture:
            mask = np.asarray(Image.open(written))
        else:
            mask = sitk.GetArrayFromImage(sitk.ReadImage(str(written))).transpose()
        assert 0 < (mask > 0).mean() < 1
        parser = parsed(bundles[name])
        network = parser.get_parsed_content("network").eval()
        load_weights(network, bundles[name] / "models" / "model.pt")
        assert np.array_equal(as_label(parser, network, str(path)), mask)
        reader = PictureReader(palette="colors") if picture else VolumeReader()
        assert np.array_equal(as_deploy(parsed(bundles[name]), network, LoadImage(reader=reader)(str(path))), mask)


def test_a_bundle_is_found_where_a_host_puts_it_on_the_path(bundles, tmp_path, monkeypatch):
    """Deploy says no `bundle_root`, but puts the folder on Python's path; a shipped one must not be taken instead."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "elsewhere" / "renamed"
    shutil.copytree(bundles["organ"], folder)
    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / "inference.yaml"))
    with pytest.raises(RuntimeError) as error:
        parser.get_parsed_content("network")
    assert "There is no bundle 'organ'" in str(root_cause(error.value))
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    parser.parse()
    assert parser.get_parsed_content("bundle_root") == str(folder)
    copy = tmp_path / "copy"
    shutil.copytree(find_bundle("covid19_ct_segmentation"), copy)
    monkeypatch.setattr(sys, "path", [str(copy), *sys.path])
    assert bundle_root("covid19_ct_segmentation") == str(copy)
