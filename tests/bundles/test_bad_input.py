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

"""The mistakes people make: one sentence that names the file and the cure, before the first step of training."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from PIL import Image

from monai_sscm.datasets import chest_phantom, write_chest_phantoms, write_vessel_phantoms
from monai_sscm.errors import root_cause
from tests.helpers.bundles import CONFIGS, workflow

SIZE = 64


@pytest.fixture
def data(tmp_path) -> Path:
    """Five photographs for training, one for validation, one for testing, as a user would lay them out."""
    folder = tmp_path / "data"
    write_vessel_phantoms(folder, num_train=5, num_val=1, num_test=1, size=SIZE)
    return folder


def train(data: Path, *overrides: str, **values):
    """Train for two epochs, all five photographs labelled or two, and hand on what a user is told."""
    run = workflow(data, data.parent / "run", *overrides, **values)
    try:
        run.initialize()
        run.run()
    except Exception as error:
        raise root_cause(error) from None
    return run.parser.get_parsed_content("train#trainer")


def image(data: Path, number: int = 1) -> Path:
    return data / "images" / f"phantom_{number:02d}.png"


def mask(data: Path, number: int = 1) -> Path:
    return data / "labels" / f"phantom_{number:02d}.png"


def save(array: np.ndarray, path: Path) -> None:
    Image.fromarray(array.astype(np.uint8)).save(path)


def remove_mask_of_a_validation_image(data: Path) -> None:
    mask(data).with_name("phantom_06.png").unlink()


def mask_of_another_size(data: Path) -> None:
    save(np.zeros((SIZE, SIZE + 1)), mask(data))


def label_value_too_high(data: Path) -> None:
    save(np.full((SIZE, SIZE), 3), mask(data))


def mask_of_0_and_200(data: Path) -> None:
    save(np.eye(SIZE) * 200, mask(data))


def truncate_image(data: Path) -> None:
    whole = image(data).read_bytes()
    image(data).write_bytes(whole[: len(whole) // 2])


def truncate_mask(data: Path) -> None:
    mask(data).write_bytes(mask(data).read_bytes()[:60])


def image_that_is_none(data: Path) -> None:
    image(data).write_text("this is a text")


def two_channels(data: Path) -> None:
    image(data).unlink()
    array = np.zeros((SIZE, SIZE, 1, 1, 2), np.float32)  # NIfTI's fifth dimension is that of channels
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), data / "images" / "phantom_01.nii.gz")


def nifti_with(value: float) -> Callable[[Path], None]:
    def change(data: Path) -> None:
        array = np.random.default_rng(0).random((SIZE, SIZE, 1), dtype=np.float32)
        array[5, 6] = value
        image(data).unlink()
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), data / "images" / "phantom_01.nii.gz")

    return change


def same_name_twice(data: Path) -> None:
    shutil.copy(image(data), image(data).with_suffix(".bmp"))


def training_image_in_the_test_part(data: Path) -> None:
    split = json.loads((data / "split.json").read_text())
    split["test"].append(split["train"][0])
    (data / "split.json").write_text(json.dumps(split))


def training_image_in_the_test_part_under_another_name(data: Path) -> None:
    shutil.copy(image(data, 1), image(data, 7))


BAD_DATA = {
    remove_mask_of_a_validation_image: "The image 'phantom_06' of the val part has no mask: add it, or take the image",
    mask_of_another_size: r"The mask '.*phantom_01.png' has the size \(64, 65\), its image '.*' has \(64, 64\)",
    label_value_too_high: r"The mask '.*phantom_01.png' has the values \[3\], but there are 2 classes ",
    mask_of_0_and_200: r"The mask '.*phantom_01.png' has the values \[200\], but there are 2 classes",
    truncate_image: r"The picture '.*images/phantom_01.png' cannot be read, replace it with a good copy",
    truncate_mask: r"The picture '.*labels/phantom_01.png' cannot be read, replace it with a good copy",
    image_that_is_none: r"The picture '.*images/phantom_01.png' cannot be read, replace it with a good copy",
    two_channels: r"The image '.*phantom_01.nii.gz' has 2 channels, but the network takes 3: save it with as many",
    nifti_with(np.nan): r"The image '.*phantom_01.nii.gz' has 1 NaN or infinite intensities: replace them",
    nifti_with(np.inf): r"The image '.*phantom_01.nii.gz' has 1 NaN or infinite intensities: replace them",
    same_name_twice: r"phantom_01.* have the same name: keep one of them",
    training_image_in_the_test_part: r"\['phantom_01'\] are in the train part and in the test part: keep each patient",
    training_image_in_the_test_part_under_another_name: r"phantom_01.*phantom_07.* are the same image: keep it in one",
}


@pytest.mark.parametrize("change", BAD_DATA, ids=lambda change: change.__name__)
def test_bad_data(data, change):
    change(data)
    with pytest.raises((ValueError, OSError), match=BAD_DATA[change]) as told:
        train(data, num_labeled=5)
    assert "\n" not in str(told.value)
    assert not (data.parent / "run" / "states").exists()


BAD_VALUES: dict[str, tuple[dict, str]] = {
    "missing folder": ({"dataset_dir": "nowhere"}, r"There is no folder 'nowhere': set `dataset_dir` to the folder"),
    "more labeled than there are": (
        {"num_labeled": 6},
        r"`num_labeled` is 6, but the training part has 5 images with masks",
    ),
    "no labeled": ({"num_labeled": 0}, r"There are no donor images: the method pastes from labeled ones"),
    "no unlabeled": (
        {"num_labeled": 5},
        r"There are no unlabeled images: add images without masks, give a smaller `num_labeled`",
    ),
    "unknown class": ({"paste_classes": [2]}, r"`paste_classes` are indices of `class_names`, from 0 to 1, got \[2\]"),
    "unknown layer": ({"feature_layer": "decoder"}, r"UNet has no layer 'decoder'. Its layers are: model, model.0"),
    "grey network": (
        {"in_channels": 1},
        r"phantom_0\d.png' has 3 channels, but the network takes 1: .* to 3 for",
    ),
}


@pytest.mark.parametrize("name", BAD_VALUES)
def test_bad_values(data, name):
    values, message = BAD_VALUES[name]
    with pytest.raises((ValueError, OSError), match=message) as told:
        train(data, **values)
    assert "\n" not in str(told.value)
    assert not (data.parent / "run" / "states").exists()


def test_masks_of_0_and_255_for_two_classes_are_understood(data):
    for number in range(1, 8):
        assert set(np.unique(np.asarray(Image.open(mask(data, number))))) <= {0, 255}
    assert train(data).state.iteration == 8


def test_masks_of_0_and_255_for_three_classes_are_explained(data):
    with pytest.raises(ValueError, match=r"has the values \[255.*Masks of 0 and 255 are read as two classes only"):
        train(data, class_names=["background", "artery", "vein"])


def test_an_all_background_label_is_fine(data):
    """There is nothing to paste: the unlabelled images stay as they are, and training goes on."""
    for number in range(1, 6):
        save(np.zeros((SIZE, SIZE)), mask(data, number))
    trainer = train(data)
    assert trainer.state.optimizer_steps == 8 and trainer.state.skipped_steps == 0
    assert not trainer.state.views[0]["mask"].any()
    assert torch.isfinite(trainer.state.output["loss"])


def test_images_smaller_than_the_crop_are_padded(data):
    trainer = train(data, patch_size=[96, 112])
    assert trainer.state.optimizer_steps == 8
    assert trainer.state.output["image"].shape[2:] == (96, 112)


def test_an_output_folder_that_cannot_be_written_to(data):
    (data.parent / "run").write_text("a file where the folder should be")
    with pytest.raises(OSError, match=r"The folder '.*run' cannot be written to .* set `output_dir` to one that can"):
        train(data)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


BAD_CHECKPOINTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "missing": (lambda path: path.unlink(), r"There is no checkpoint '.*model.pt': train first"),
    "corrupt": (lambda path: path.write_bytes(path.read_bytes()[:5000]), r"model.pt' cannot be read: it is damaged"),
    "a flipped bit": (lambda path: flip_a_bit(path), r"model.pt' cannot be read: it is damaged"),
    "empty": (lambda path: path.write_bytes(b""), r"model.pt' cannot be read: it is damaged"),
    "foreign": (lambda path: torch.save({"epoch": 3, "net": {}}, path), r"holds \['epoch', 'net'\] and no teacher"),
    "a list": (lambda path: torch.save([1], path), r"holds a list and no weights"),
    "a module": (lambda path: torch.save(torch.nn.Linear(2, 2), path), r"was not saved by PyTorch as plain weights"),
    "another network": (
        lambda path: torch.save(torch.nn.Linear(2, 2).state_dict(), path),
        r"model.pt' are of another network: use the network, `in_channels` and `class_names`",
    ),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    write_vessel_phantoms(folder / "data", num_train=5, num_val=1, num_test=1, size=SIZE)
    train(folder / "data", max_epochs=1)
    return folder


@pytest.mark.parametrize("name", BAD_CHECKPOINTS)
def test_bad_checkpoints(trained, tmp_path, name):
    change, message = BAD_CHECKPOINTS[name]
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    change(tmp_path / "run" / "models" / "model.pt")
    with pytest.raises((ValueError, OSError), match=message) as told:
        train(tmp_path / "data", "evaluate")
    assert "\n" not in str(told.value)


def test_student_weights_where_there_are_none(trained, tmp_path):
    state = torch.load(trained / "run" / "states" / "last.pt", weights_only=True)
    torch.save(state["teacher"], tmp_path / "model.pt")
    shutil.copy(trained / "run" / "models" / "settings.json", tmp_path)
    values = {"checkpoint": str(tmp_path / "model.pt"), "weights": "student"}
    with pytest.raises(ValueError, match=r"model.pt' holds one network only, the teacher: set `weights` to 'teacher'"):
        train(trained / "data", "evaluate", **values)


def command(*arguments: str, debug: bool = False) -> subprocess.CompletedProcess:
    environment = {**os.environ, "MONAI_DEBUG": "1" if debug else "0"}
    return subprocess.run(
        [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(CONFIGS / "train.yaml"), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )


def test_the_command_ends_with_the_sentence_alone(data):
    truncate_image(data)
    arguments = ["--dataset_dir", str(data), "--num_labeled", "4", "--output_dir", str(data.parent / "run")]
    done = command(*arguments)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"Error: The picture '{image(data)}' cannot be read, replace it")
    done = command(*arguments, debug=True)
    assert "Traceback" in done.stderr and done.stderr.splitlines()[-1].startswith("Error: The picture")


# --- chest CT --------------------------------------------------------------------------------------------------


@pytest.fixture
def scans(tmp_path) -> Path:
    folder = tmp_path / "data"
    write_chest_phantoms(folder, num_train=3, num_val=1, num_test=1, size=SIZE, num_slices=3)
    return folder


def rewrite(path: Path, change: Callable[[sitk.Image], sitk.Image]) -> None:
    sitk.WriteImage(change(sitk.ReadImage(str(path))), str(path))


def moved(image: sitk.Image) -> sitk.Image:
    image.SetOrigin((3.0, 0.0, 0.0))
    return image


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("labels", moved, r"mask '.*01.nii.gz' does not lie where its image .* differ by up to 3 mm. Resample"),
        ("labels", lambda i: i[:, :, :2], r"mask '.*01.nii.gz' has the size \(64, 64, 2\), its image"),
        ("labels", lambda i: i + 2, r"mask '.*01.nii.gz' has the values \[3, 4\], but there are 3 classes"),
        ("images", lambda i: sitk.Clamp(i, lowerBound=0), r"neither Hounsfield units, where air is near -1000"),
        ("images", lambda i: i * 0, r"volume '.*01.nii.gz' is empty, all its values are 0"),
        (
            "images",
            lambda i: sitk.Cast(i, sitk.sitkFloat32) / 0,
            r"volume '.*01.nii.gz' has \d+ NaN or infinite values",
        ),
        ("images", lambda i: sitk.JoinSeries([i, i]), r"image '.*01.nii.gz' has 2 channels, but the network takes 1"),
    ],
)
def test_bad_scans_and_masks(scans, file, change, message):
    rewrite(scans / file / "phantom_01.nii.gz", change)
    with pytest.raises(ValueError, match=message):
        train(scans, bundle="covid19_ct_segmentation", num_labeled=3, unlabeled_images=False)


def test_a_patient_on_two_sides(scans):
    with pytest.raises(ValueError, match="keep each patient on one side"):
        train(scans, bundle="covid19_ct_segmentation", group_pattern="(phantom)")


def test_a_folder_without_ct(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(
        FileNotFoundError, match="No masks are found in '.*data': the data set needs the folders 'images' and 'labels'"
    ):
        train(tmp_path / "data", bundle="covid19_ct_segmentation")
    (tmp_path / "data" / "images").mkdir()
    with pytest.raises(FileNotFoundError, match="No masks are found in '.*data'"):
        train(tmp_path / "data", bundle="covid19_ct_segmentation")


@pytest.mark.parametrize("num_classes", [3, 4])
def test_pleural_effusion_is_a_fourth_class(scans, num_classes):
    path = scans / "labels" / "phantom_01.nii.gz"
    rewrite(path, lambda i: sitk.Mask(i, i < 2, 3))  # consolidation becomes effusion
    (scans / "unlabeled_images").mkdir()
    sitk.WriteImage(sitk.GetImageFromArray(chest_phantom(64, 2, 9)[0]), str(scans / "unlabeled_images" / "x.mha"))
    names = ["background", "ground-glass", "consolidation", "pleural effusion"][:num_classes]
    values = {"class_names": names, "paste_classes": list(range(1, num_classes)), "num_labeled": 3}
    if num_classes == 4:
        trainer = train(scans, bundle="covid19_ct_segmentation", **values)
        assert trainer.network.out_channels == 4 and trainer.state.iteration == 8
    else:
        with pytest.raises(ValueError, match=r"has the values \[3\], but there are 3 classes"):
            train(scans, bundle="covid19_ct_segmentation", **values)
