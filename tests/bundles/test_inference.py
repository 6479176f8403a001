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

"""New images, of every kind people have, through the shipped inference configuration and the shipped weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from PIL import Image

from monai_sscm.datasets import vessel_phantom
from monai_sscm.errors import root_cause
from monai_sscm.networks import training_settings

BUNDLE = Path(__file__).parents[2] / "bundles" / "chase_vessel_segmentation"
CONFIG = BUNDLE / "configs" / "inference.yaml"
ROWS, COLUMNS = 96, 130


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return vessel_phantom(size=COLUMNS, seed=3)[0][:ROWS]


def segment(input: Path | list[Path], output_dir: Path, **values) -> ConfigWorkflow:
    source = [str(p) for p in input] if isinstance(input, list) else str(input)
    values = {
        "input": source,
        "output_dir": str(output_dir),
        "bundle_root": str(BUNDLE),
        "zoom": 1.0,
        "shortest_side": None,
        **values,
    }
    run = ConfigWorkflow(str(CONFIG), workflow_type="infer", logging_file=False, **values)
    run.initialize()
    run.run()
    return run


def mask_of(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.fixture(scope="module")
def expected(picture, tmp_path_factory) -> np.ndarray:
    folder = tmp_path_factory.mktemp("expected")
    Image.fromarray(picture).save(folder / "photo.png")
    segment(folder / "photo.png", folder)
    mask = mask_of(folder / "photo_seg.png")
    assert mask.shape == (ROWS, COLUMNS) and set(np.unique(mask)) == {0, 1} and 0.01 < mask.mean() < 0.5
    return mask


def test_the_mask_is_the_network_s_answer(picture, expected):
    """The same by hand: normalize, one pass of the padded image, and no sliding window or reader in between."""
    from monai.networks.nets import UNet

    network = UNet(2, 3, 2, (16, 32, 64, 128, 256), (2, 2, 2, 2), num_res_units=2).eval()
    network.load_state_dict(torch.load(BUNDLE / "models" / "model.pt", weights_only=True))
    x = torch.tensor(picture).movedim(-1, 0).float()
    x = (x - x.mean(dim=(1, 2), keepdim=True)) / x.std(dim=(1, 2), keepdim=True, correction=0)
    padded = torch.nn.functional.pad(x[None], (0, 144 - COLUMNS, 0, 0))
    with torch.no_grad():
        mask = network(padded)[0, :, :, :COLUMNS].argmax(0).numpy()
    assert (mask == expected).mean() > 0.95  # instance norm sees the window in one case, the image in the other


@pytest.mark.parametrize(
    "name", ["photo.png", "a photo.PNG", "photo.tiff", "photo.tif", "photo.bmp", "photo.webp", "photo.ppm", "фото.png"]
)
def test_lossless_pictures_give_the_same_mask(tmp_path, picture, expected, name):
    Image.fromarray(picture).save(tmp_path / name, lossless=True)  # of WebP alone
    segment(tmp_path / name, tmp_path / "out")
    assert (mask_of(tmp_path / "out" / f"{Path(name).stem}_seg.png") == expected).all()


def test_an_alpha_channel_makes_no_difference(tmp_path, picture, expected):
    Image.fromarray(picture).convert("RGBA").save(tmp_path / "photo.png")
    segment(tmp_path / "photo.png", tmp_path / "out")
    assert (mask_of(tmp_path / "out" / "photo_seg.png") == expected).all()


def test_a_palette_gives_its_colours(tmp_path, picture):
    image = Image.fromarray(picture).quantize(256)
    image.save(tmp_path / "palette.png")
    image.convert("RGB").save(tmp_path / "colours.png")
    segment([tmp_path / "palette.png", tmp_path / "colours.png"], tmp_path / "out")
    masks = [mask_of(tmp_path / "out" / f"{name}_seg.png") for name in ("palette", "colours")]
    assert (masks[0] == masks[1]).all() and masks[0].any()


def test_jpeg(tmp_path, picture, expected):
    Image.fromarray(picture).save(tmp_path / "photo.jpg", quality=95)
    segment(tmp_path / "photo.jpg", tmp_path / "out")
    mask = mask_of(tmp_path / "out" / "photo_seg.png")
    assert mask.shape == expected.shape and (mask == expected).mean() > 0.95


def test_a_turned_picture_gives_a_turned_mask(tmp_path, picture, expected):
    Image.fromarray(np.rot90(picture).copy()).save(tmp_path / "photo.png")
    segment(tmp_path / "photo.png", tmp_path / "out")
    mask = mask_of(tmp_path / "out" / "photo_seg.png")
    assert mask.shape == (COLUMNS, ROWS) and (np.rot90(mask, -1) == expected).mean() > 0.9
    # and nothing else fits as well: not mirrored, not upside down
    fits = {k: (np.rot90(mask, k) == expected).mean() for k in (1, 3)}
    assert fits[3] > fits[1]


def test_a_picture_that_is_stored_turned_comes_back_upright(tmp_path, picture, expected):
    image = Image.fromarray(np.rot90(picture).copy())
    exif = image.getexif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    image.save(tmp_path / "photo.png", exif=exif)
    segment(tmp_path / "photo.png", tmp_path / "out")
    assert (mask_of(tmp_path / "out" / "photo_seg.png") == expected).all()


def test_grey_and_16_bit(tmp_path, picture):
    grey = np.asarray(Image.fromarray(picture).convert("L"))
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.tiff")
    segment([tmp_path / "grey.png", tmp_path / "deep.tiff"], tmp_path / "out")
    grey_mask, deep_mask = (mask_of(tmp_path / "out" / f"{name}_seg.png") for name in ("grey", "deep"))
    assert grey_mask.shape == (ROWS, COLUMNS) and (grey_mask == deep_mask).mean() > 0.999


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
def test_nifti_comes_back_as_nifti(tmp_path, picture, expected, suffix):
    affine = np.array([[0.0, -0.4, 0, 7], [0.3, 0, 0, -5], [0, 0, 2, 1], [0, 0, 0, 1]])
    array = np.ascontiguousarray(np.swapaxes(picture, 0, 1)[:, :, None, :])  # columns, rows, one slice, colours
    nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / f"photo{suffix}")
    segment(tmp_path / f"photo{suffix}", tmp_path / "out", save_probabilities=True)
    mask = nibabel.load(tmp_path / "out" / "photo_seg.nii.gz")
    assert mask.shape == (COLUMNS, ROWS, 1) and mask.get_data_dtype() == np.uint8
    assert np.allclose(mask.affine, affine) and mask.header.get_xyzt_units()
    array = np.asarray(mask.dataobj)[:, :, 0]
    assert (array.T == expected).mean() > 0.9
    prob = nibabel.load(tmp_path / "out" / "photo_prob.nii.gz").get_fdata()
    assert prob.shape == (COLUMNS, ROWS, 1, 2) and np.allclose(prob.sum(-1), 1, atol=1e-5)
    assert (prob.argmax(-1)[:, :, 0] == array).all()


def test_a_folder_with_probabilities_and_overlays(tmp_path, picture, expected):
    for name in ("b.png", "left/a.png", "right/a.png", ".hidden.png", "notes.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".png"):
            Image.fromarray(picture).save(tmp_path / "in" / name)
        else:
            (tmp_path / "in" / name).write_text("no image")
    run = segment(tmp_path / "in", tmp_path / "out", save_probabilities="true", save_overlays="true")
    run.finalize()
    kinds = ("overlay", "prob_background", "prob_vessel", "seg")
    assert sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.png")) == sorted(
        f"{name}_{kind}.png" for name in ("b", "left/a", "right/a") for kind in kinds
    )
    prob = np.asarray(Image.open(tmp_path / "out" / "b_prob_vessel.png"))
    assert prob.dtype == np.uint16 and ((prob > 65535 / 2) == expected).mean() > 0.9999
    under = np.asarray(Image.open(tmp_path / "out" / "b_overlay.png")).astype(int)
    assert under.shape == (ROWS, COLUMNS, 3)
    # the picture's own colours outside the mask, others inside
    grey_levels = np.abs(under - picture)[expected == 0].mean(), np.abs(under - picture)[expected == 1].mean()
    assert grey_levels[0] < 40 < grey_levels[1]


def test_false_on_the_command_line_is_false(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / "photo.png")
    segment(tmp_path / "photo.png", tmp_path / "out", save_probabilities="false", save_overlays="False")
    assert [p.name for p in (tmp_path / "out").glob("photo*")] == ["photo_seg.png"]


def test_teacher_or_student_of_a_training(tmp_path, picture, expected):
    Image.fromarray(picture).save(tmp_path / "photo.png")
    teacher = torch.load(BUNDLE / "models" / "model.pt", weights_only=True)
    student = {name: torch.zeros_like(value) for name, value in teacher.items()}
    settings = training_settings(BUNDLE / "models" / "model.pt")
    torch.save({"teacher": teacher, "student": student, "settings": settings}, tmp_path / "last.pt")
    for weights, mask in (("teacher", expected), ("student", np.zeros_like(expected))):
        out = tmp_path / weights
        segment(tmp_path / "photo.png", out, checkpoint=str(tmp_path / "last.pt"), weights=weights)
        assert (mask_of(out / "photo_seg.png") == mask).all()


def test_the_command_skips_what_cannot_be_read_and_says_so(tmp_path, picture):
    folder = tmp_path / "my photographs"
    folder.mkdir()
    for name in ("1.png", "10.png", "2.png"):
        Image.fromarray(picture).save(folder / name)
    whole = (folder / "2.png").read_bytes()
    (folder / "2.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").touch()
    nibabel.save(nibabel.Nifti1Image(np.zeros((9, 9, 9), np.uint8), np.eye(4)), folder / "volume.nii.gz")
    long_name = "long" * 60 + ".png"  # its results would have names of more than 255 bytes
    Image.fromarray(picture).save(folder / long_name)
    nan = np.full((40, 40), np.nan, np.float32)
    nibabel.save(nibabel.Nifti1Image(nan, np.eye(4)), folder / "nan.nii.gz")
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(CONFIG)]
    command += ["--input", str(folder), "--output_dir", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 1
    last = done.stderr[done.stderr.index("5 of 7 images were left out:") :].splitlines()
    assert len(last) == 6 and "Traceback" not in done.stderr
    for name, why in (
        ("2.png", "cannot be read, replace it with a good copy"),
        ("empty.jpg", "cannot be read, replace it with a good copy"),
        ("volume.nii.gz", r"has the size \(9, 9, 9\), but the network takes images of 2 dimensions"),
        (long_name, "its name is too long for those of its results: rename it"),
        ("nan.nii.gz", "has 1600 NaN or infinite intensities"),
    ):
        assert any(name in line and why.replace("\\", "") in line for line in last), name
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["10_seg.png", "1_seg.png", "labels.txt"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nowhere", "There is no image or folder .*nowhere': check `input`"),
        ("empty", "There are no images in .*empty'"),
        (["photo.png", "photo.bmp"], "would have the same name: rename one"),
        (".", "The results would lie among the images in .*: set another `output_dir`"),
        ("latin.txt", "The list '.*latin.txt' is not in UTF-8: save it so"),
    ],
)
def test_inputs_that_are_none(tmp_path, picture, value, message):
    (tmp_path / "empty").mkdir()
    for name in ("photo.png", "photo.bmp"):
        Image.fromarray(picture).save(tmp_path / name)
    (tmp_path / "latin.txt").write_bytes("ü.png".encode("latin-1"))
    source = [tmp_path / v for v in value] if isinstance(value, list) else tmp_path / value
    with pytest.raises(Exception) as caught:
        segment(source, tmp_path if value == "." else tmp_path / "out")
    assert caught.match("Failed to") and caught.value.__cause__ is not None
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        raise root_cause(caught.value)


def test_a_list_in_a_file(tmp_path, picture, expected):
    Image.fromarray(picture).save(tmp_path / "one.png")
    Image.fromarray(picture).save(tmp_path / "two.png")
    (tmp_path / "scan.dcm").touch()
    for encoding, more in (("utf-8", ""), ("utf-8-sig", "three.png\nscan.dcm\n")):  # as Windows saves it
        (tmp_path / "list.txt").write_text(f"two.png\n\n{more}", encoding=encoding)
        run = segment(tmp_path / "list.txt", tmp_path / encoding)
        assert [p.name for p in (tmp_path / encoding).glob("*.png")] == ["two_seg.png"]
    with pytest.raises(SystemExit, match=r"(?s)2 of 3 .*There is no picture .*three.png.*scan.dcm' is no PNG, JPEG"):
        run.finalize()


def test_results_in_the_folder_of_images_are_not_segmented_again(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / "one.png")
    for _ in range(2):
        segment(tmp_path, tmp_path / "out", save_overlays=True)
        assert sorted(p.name for p in (tmp_path / "out").glob("*.png")) == ["one_overlay.png", "one_seg.png"]


def test_a_result_that_cannot_be_written(tmp_path, picture, monkeypatch):
    def disk_full(self, path, **kwargs):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    Image.fromarray(picture).save(tmp_path / "one.png")
    monkeypatch.setattr(Image.Image, "save", disk_full)
    with pytest.raises(Exception) as caught:
        segment(tmp_path / "one.png", tmp_path / "out")
    with pytest.raises(
        OSError, match=r"The result '.*one_seg.png' cannot be written \(No space left on device\): make"
    ):
        raise root_cause(caught.value)
    assert list((tmp_path / "out").iterdir()) == []
