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


"""Data sets of many kinds are planned for, trained on and predicted with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
import yaml
from monai.bundle import ConfigWorkflow, create_workflow, verify_metadata, verify_net_in_out
from PIL import Image

from monai_sscm.io import stored_spacing
from monai_sscm.planning import Plan, plan_bundle
from monai_sscm.planning.rules import RULES
from tests.helpers.datasets import blocks, image_of, lines, write_dataset, write_picture, write_volume
from tests.helpers.dicom import write_series
from tests.helpers.volumes import oblique_volume

SCHEMA = Path(__file__).parents[3] / "shared" / "schema" / "meta_schema_20240725.json"


def isotropic(folder: Path) -> None:
    write_dataset(folder, (24, 28, 20))


def thick_slices(folder: Path) -> None:
    write_dataset(folder, (40, 36, 6), spacing=(1.0, 1.0, 10.0))


def huge_picture(folder: Path) -> None:
    write_dataset(folder, (2100, 2400), ("a",), ("b",), draw=lambda random: lines((2100, 2400), random, 9), white=True)


def small_pictures(folder: Path) -> None:
    write_dataset(folder, (30, 30))


def strips(folder: Path) -> None:
    write_dataset(folder, (10, 600))


def four_channels(folder: Path) -> None:
    """Of nnU-Net, a file a channel."""
    for seed, name in enumerate(("a", "b")):
        random = np.random.RandomState(seed)
        mask = blocks((20, 20, 20), 1, 8, random)
        for channel in range(4):
            write_volume(folder / "imagesTr" / f"{name}_000{channel}.nii.gz", image_of(mask, random), (1, 1, 1))
        write_volume(folder / "labelsTr" / f"{name}.nii.gz", mask, (1, 1, 1))
    about = {
        "channel_names": {str(i): f"MR {i}" for i in range(4)},
        "labels": {"background": 0, "tumor": 1},
        "numTraining": 2,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(about))


def twelve_classes(folder: Path) -> None:
    write_dataset(folder, (24, 24, 24), draw=lambda random: blocks((24, 24, 24), 11, 6, random))


def tiny_class(folder: Path) -> None:
    def draw(random: np.random.RandomState) -> np.ndarray:
        mask = np.zeros((64, 64, 64), np.uint8)
        x, y, z = random.randint(2, 56, 3)
        mask[x : x + 2, y : y + 5, z : z + 2] = 1
        return mask

    write_dataset(folder, (64, 64, 64), draw=draw)


def two_cases(folder: Path) -> None:
    write_dataset(folder, (32, 40), ("a", "b"), ())


def two_volumes(folder: Path) -> None:
    names = tuple(f"patient00{i}_frame0{j}" for i in (1, 2) for j in (1, 2))
    write_dataset(folder, (20, 20, 20), names, ("patient003_frame01", "patient003_frame02"))


def _chosen(plan: Plan, *names: str) -> list:
    return [plan.values[name].value for name in names]


def check_isotropic(plan: Plan) -> None:
    assert plan.kind == "volumes" and _chosen(plan, "patch_size", "spacing") == [[24, 28, 20], None]
    assert _chosen(plan, "strides", "method") == [[2, 2], "supmix_cutmix"]


def check_thick_slices(plan: Plan) -> None:
    assert plan.kind == "slices" and "10 mm apart" in plan.reason
    assert _chosen(plan, "patch_size", "turn") == [[40, 32], False]


def check_huge_picture(plan: Plan) -> None:
    zoom, margin, patch = _chosen(plan, "zoom", "paste_margin", "patch_size")
    assert plan.kind == "pictures" and 0.45 < zoom < 0.5 and margin == 10 and np.prod(patch) <= 192**2
    assert [c.name for c in plan.seen.classes] == ["background", "foreground"]


def check_small_pictures(plan: Plan) -> None:
    assert _chosen(plan, "patch_size", "strides", "turn", "mirror_axes") == [[28, 28], [2, 2], True, [0, 1]]


def check_strips(plan: Plan) -> None:
    assert _chosen(plan, "patch_size", "strides") == [[10, 592], [[2, 2], [1, 2], [1, 2], [1, 2]]]


def check_four_channels(plan: Plan) -> None:
    assert _chosen(plan, "in_channels", "class_names") == [4, ["background", "tumor"]]


def check_twelve_classes(plan: Plan) -> None:
    assert _chosen(plan, "paste_classes", "mirror_axes") == [list(range(1, 12)), []]
    assert plan.values["class_names"].value[-1] == "class_11"


def check_tiny_class(plan: Plan) -> None:
    assert plan.seen.classes[1].smallest == 20
    assert _chosen(plan, "labeled_crop", "patch_size", "spacing") == ["with_classes", [48] * 3, None]


def check_two_cases(plan: Plan) -> None:
    assert _chosen(plan, "method") == ["supervised_augmented"] and "unlabeled_images" in plan.values["method"].reason
    assert plan.seen.counts == {"labeled": 2, "unlabeled": 0, "val": 0, "test": 0}


def check_two_volumes(plan: Plan) -> None:
    assert plan.seen.patients == 3 and _chosen(plan, "group_pattern") == ["(patient[0-9]+)"]


FEW_STEPS = {"max_epochs": 1, "epoch_length": 2, "rampup_steps": 1, "device": torch.device("cpu")}
CASES = (
    pytest.param(isotropic, check_isotropic, id="isotropic"),
    pytest.param(thick_slices, check_thick_slices, id="thick_slices"),
    pytest.param(huge_picture, check_huge_picture, id="huge_picture", marks=pytest.mark.slow),
    pytest.param(small_pictures, check_small_pictures, id="small_pictures"),
    pytest.param(strips, check_strips, id="strips", marks=pytest.mark.slow),
    pytest.param(four_channels, check_four_channels, id="four_channels", marks=pytest.mark.slow),
    pytest.param(twelve_classes, check_twelve_classes, id="twelve_classes", marks=pytest.mark.slow),
    pytest.param(tiny_class, check_tiny_class, id="tiny_class", marks=pytest.mark.slow),
    pytest.param(two_cases, check_two_cases, id="two_cases", marks=pytest.mark.slow),
    pytest.param(two_volumes, check_two_volumes, id="two_volumes", marks=pytest.mark.slow),
)


@pytest.mark.parametrize(("write", "check"), CASES)
def test_a_plan_is_trained_and_predicted_with(write, check, tmp_path, monkeypatch):
    write(tmp_path / "data")
    bundle, run = tmp_path / "mine", tmp_path / "run"
    plan = plan_bundle(tmp_path / "data", bundle)
    check(plan)

    # a bundle is run in its folder, or by its configuration's path on the command line
    monkeypatch.chdir(bundle)
    training = ConfigWorkflow(
        "configs/train.yaml", workflow_type="train", logging_file=False, output_dir=str(run), **FEW_STEPS
    )
    training.initialize()
    training.run()
    training.finalize()
    assert (run / "models" / "model.pt").is_file()

    monkeypatch.chdir(run)
    item = training.parser.get_parsed_content("datalist")["labeled"][0]
    label = Path(item["label"])
    name = label.name.split(".")[0]
    # a list where each channel is a file of its own
    first = item["image"] if isinstance(item["image"], str) else item["image"][0]
    segmentation = ConfigWorkflow(
        "configs/inference.yaml",
        workflow_type="inference",
        logging_file=False,
        input=str(Path(first).parent),
        output_dir=str(tmp_path / "masks"),
        checkpoint="models/model.pt",
        overlap=0.1,
        device=torch.device("cpu"),
    )
    segmentation.initialize()
    segmentation.run()
    segmentation.finalize()
    masks = [path for path in (tmp_path / "masks").iterdir() if path.name.startswith(f"{name}_seg.")]
    assert [_size(path) for path in masks] == [_size(label)]


def _size(path: Path) -> tuple[int, ...]:
    return Image.open(path).size if path.suffix == ".png" else sitk.ReadImage(str(path)).GetSize()


@pytest.fixture(scope="module")
def planned(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("planned")
    write_dataset(folder / "data", (32, 32))
    plan_bundle(folder / "data", folder / "mine", {"max_epochs": "4", "val_fraction": "0.5"})
    return folder


def test_monai_finds_the_bundle_complete(planned, monkeypatch):
    monkeypatch.chdir(planned / "mine")
    if SCHEMA.is_file():
        verify_metadata(meta_file="configs/metadata.json", filepath=str(SCHEMA))
    verify_net_in_out("network_def", meta_file="configs/metadata.json", config_file="configs/train.yaml", device="cpu")
    workflow = create_workflow(
        workflow_type="train",
        config_file="configs/train.yaml",
        meta_file="configs/metadata.json",
        logging_file=False,
        output_dir=str(planned / "run"),
    )
    assert workflow.check_properties() == []


def test_the_spacing_of_volumes_is_kept(tmp_path):
    """For a warning of images far from it."""
    write_dataset(tmp_path / "data", (20, 24, 16))
    plan = plan_bundle(tmp_path / "data", tmp_path / "mine", {})
    assert plan.seen.spacing is not None and stored_spacing(tmp_path / "mine") == plan.seen.spacing


def test_every_value_stands_in_the_configuration_with_its_reason(planned):
    text = (planned / "mine" / "configs" / "train.yaml").read_text()
    config = yaml.safe_load(text)
    assert config["bundle_name"] == "mine" and config["dataset_dir"] == str(planned / "data")
    assert "max_epochs: 4                # as you chose\n" in text
    assert "patch_size: [32, 32]         # of 32 x 32 pixels" in text
    planned_lines = [line for line in text.splitlines() if line.partition(":")[0] in RULES]
    assert len(planned_lines) > 20 and max(map(len, planned_lines)) <= 120
    document = (planned / "mine" / "docs" / "plan.md").read_text()
    assert "| `max_epochs` | `4` | as you chose |" in document and "| 1 | foreground |" in document
    assert json.loads((planned / "mine" / "docs" / "fingerprint.json").read_text())["channels"] == 1


def test_a_bundle_is_not_written_over(planned):
    with pytest.raises(FileExistsError, match="mine' is a bundle already: choose a folder that does not exist"):
        plan_bundle(planned / "data", planned / "mine")
    with pytest.raises(FileExistsError, match="data' is not empty"):
        plan_bundle(planned / "data", planned / "data")


def test_an_empty_folder_becomes_the_bundle_and_nothing_is_left_of_a_failure(planned, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match=r"mine' cannot be written \(No space left on device\): choose another"):
        plan_bundle(planned / "data", tmp_path / "mine")
    assert not list(tmp_path.glob("*.part"))
    monkeypatch.undo()
    plan_bundle(planned / "data", tmp_path / "mine")
    assert (tmp_path / "mine" / "configs" / "train.yaml").is_file()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_epoch": "4"}, r"no `max_epoch` in the configuration of a training: did you mean `--max_epochs`\?"),
        ({"xyz": "4"}, "no `xyz` in the configuration of a training"),
        ({"max_epochs": "none at all"}, "`max_epochs` must be a whole number"),
        ({"method": "mixmatch"}, "`method` must be one of supervised,"),
        ({"spatial_dims": "3"}, "the images are pictures, which have 2"),
        ({"patch_size": "$[32, 32]"}, "`patch_size` must be a value and no expression"),
        ({"spacing": "[1, 1]"}, "`spacing` is no value for training on pictures"),
    ],
)
def test_wrong_values_are_refused(planned, tmp_path, values, message):
    with pytest.raises(ValueError, match=message):
        plan_bundle(planned / "data", tmp_path / "mine", values)
    assert not (tmp_path / "mine").exists()


def test_folders_of_slices_are_images(tmp_path):
    for name in ("a", "b"):
        write_series(oblique_volume(ord(name)), tmp_path / "data" / "images" / name, uid=str(ord(name)))
    mask = np.zeros((48, 48, 6), np.uint8)
    mask[10:20, 10:20, 2] = 1
    write_volume(tmp_path / "data" / "labels" / "a.nii.gz", mask, (0.7, 0.7, 5.0))
    (tmp_path / "data" / "unlabeled_images").mkdir()
    (tmp_path / "data" / "images" / "b").rename(tmp_path / "data" / "unlabeled_images" / "b")
    plan = plan_bundle(tmp_path / "data", tmp_path / "mine")
    assert plan.kind == "slices" and plan.seen.hounsfield and plan.seen.spacing == [0.7, 0.7, 5.0]
    assert plan.seen.counts["unlabeled"] == 1
    config = yaml.safe_load((tmp_path / "mine" / "configs" / "train.yaml").read_text())
    assert config["datalist"].endswith(", folders=True)") and config["datalist"].startswith("$monai_sscm.data.semi")


def test_other_values_of_the_configuration_are_taken_as_they_are(planned, tmp_path):
    values = {"lr_scheduler#power": "0.5", "optimizer::eps": "0.001", "device": "cpu", "run_name": "$'a'"}
    plan = plan_bundle(planned / "data", tmp_path / "mine", values)
    config = yaml.safe_load((tmp_path / "mine" / "configs" / "train.yaml").read_text())
    assert config["lr_scheduler#power"] == 0.5 and config["optimizer#eps"] == 0.001
    assert config["device"] == "cpu" and config["run_name"] == "$'a'"
    assert plan.values["device"].reason == "as you chose"


def test_weights_to_start_from_must_be_there(planned, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="no weights 'nope'"):
        plan_bundle(planned / "data", "mine", {"init_from": "nope"})
    assert list(tmp_path.iterdir()) == []
    Path("weights.pt").write_bytes(b"")
    plan = plan_bundle(planned / "data", "mine", {"init_from": "weights.pt"})
    assert plan.values["init_from"].value == str(tmp_path / "weights.pt")


def test_a_folder_of_another_data_set_is_not_touched(tmp_path):
    write_picture(tmp_path / "data" / "images" / "a.png", np.zeros((8, 8), np.uint8))
    with pytest.raises((ValueError, FileNotFoundError)):
        plan_bundle(tmp_path / "data", tmp_path / "mine")
    assert not (tmp_path / "mine").exists()
