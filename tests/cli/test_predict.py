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

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from monai_sscm.bundle import find_bundle
from monai_sscm.cli.main import main
from monai_sscm.errors import root_cause
from tests.helpers.datasets import blocks, image_of, write_picture, write_volume

# one window holds an image
SMALL = ["--device", "cpu", "--shortest_side", "null", "--zoom", "1.0", "--patch_size", "[112,112]"]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> list[Path]:
    """Two bundles with other weights and the same settings."""
    folder = tmp_path_factory.mktemp("models")
    made = []
    for seed in (0, 1):
        bundle = folder / f"model_{seed}"
        shutil.copytree(find_bundle("chase_vessel_segmentation"), bundle)
        weights = torch.load(bundle / "models" / "model.pt", weights_only=True)
        torch.manual_seed(seed)
        weights = {k: v + 0.02 * torch.randn_like(v) if v.is_floating_point() else v for k, v in weights.items()}
        torch.save(weights, bundle / "models" / "model.pt")
        made.append(bundle)
    return made


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for name, size in (("a.png", (96, 80)), ("b.jpg", (70, 100))):
        noise = np.random.RandomState(size[0]).randint(0, 255, (size[1] // 4, size[0] // 4, 3), np.uint8)
        Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(folder / name)
    return folder


def predict(images: Path, out: Path, *models, words=()) -> dict[str, np.ndarray]:
    main(["predict", str(images), "--model", *map(str, models), "--output_dir", str(out), *SMALL, *words])
    paths = [path for path in sorted(out.glob("*.png")) if not path.name.endswith("_overlay.png")]
    return {path.name: np.array(Image.open(path)) for path in paths}


def test_a_shipped_bundle_by_its_name(images, tmp_path, capsys):
    masks = predict(images, tmp_path / "out", "chase_vessel_segmentation")
    assert {name: mask.shape for name, mask in masks.items()} == {"a_seg.png": (80, 96), "b_seg.png": (100, 70)}
    out = str(tmp_path / "out")
    *done, review, last = capsys.readouterr().out.splitlines()
    assert done == ["1/2 a", "2/2 b"] and last == f"2 masks are in {out!r}."
    with open(tmp_path / "out" / "quality.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["case"] for row in rows) == ["a", "b"] and rows[0]["agreement"] <= rows[1]["agreement"]
    assert {row["calibration"] for row in rows} == {"ranks only"} and "expected_dice" not in rows[0]
    assert review.startswith("Review first, as ") and f": {rows[0]['case']}, {rows[1]['case']} (the order" in review
    assert sorted(path.name for path in (tmp_path / "out").glob("*_overlay.png")) == ["a_overlay.png", "b_overlay.png"]
    predict(images, tmp_path / "out", "chase_vessel_segmentation", words=["--quality", "false"])
    assert not list((tmp_path / "out").glob("*_overlay.png")) and not (tmp_path / "out" / "quality.csv").exists()


def test_of_several_models_the_mean_probability_counts(images, models, tmp_path):
    words = ["--save_probabilities", "true"]
    one, two, both = (
        predict(images, tmp_path / str(i), *chosen, words=words)
        for i, chosen in enumerate(([models[0]], [models[1]], models))
    )
    for name in ("a", "b"):
        a, b, mean = (x[f"{name}_prob_vessel.png"].astype(float) / 65535 for x in (one, two, both))
        assert np.abs(a - b).max() > 0.05
        assert np.abs(mean - (a + b) / 2).max() < 1e-3
        assert np.array_equal(both[f"{name}_seg.png"] > 0, mean > 0.5)


def test_what_cannot_be_read_is_named(images, tmp_path, capsys):
    folder = tmp_path / "images"
    shutil.copytree(images, folder)
    (folder / "c.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit) as stopped:
        predict(folder, tmp_path / "out", "chase_vessel_segmentation")
    assert "1 of 3 images were left out" in str(stopped.value.code) and "c.png" in str(stopped.value.code)
    assert len(list((tmp_path / "out").glob("*_seg.png"))) == 2


def test_a_training_that_is_not_finished(images, models, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(models[0], run)
    weights = torch.load(run / "models" / "model.pt", weights_only=True)
    settings = json.loads((run / "models" / "settings.json").read_text())
    (run / "models" / "model.pt").unlink()
    with pytest.raises(ValueError, match="has no weights yet"):
        predict(images, tmp_path / "out", run)
    last = run / "states" / "last.pt"
    last.parent.mkdir()
    torch.save({"teacher": weights, "student": weights, "settings": settings}, last)
    with pytest.raises(ValueError, match=r"is not finished: .* give '.*last.pt' as `--model`"):
        predict(images, tmp_path / "out", run)
    finished = predict(images, tmp_path / "finished", models[0])
    for words in (["--weights", "student"], []):
        masks = predict(images, tmp_path / f"out{len(words)}", last, words=words)
        assert all(np.array_equal(mask, masks[name]) for name, mask in finished.items())


@pytest.mark.parametrize(
    ("names", "words", "message"),
    [
        (["nothing"], [], "There is no model 'nothing': give the folder .* or one of chase_vessel_segmentation"),
        (["{0}"], ["--save_overlay", "true"], "no `save_overlay` in .*inference.yaml: did you mean `--save_overlays`"),
        (["{0}"], ["--overlap", "2"], "`overlap` must be a number from 0 to 1"),
        (["{0}", "covid19_ct_segmentation"], [], "were trained with in_channels=3 and in_channels=1: their"),
        (["covid19_ct_segmentation", "{0}"], ["--checkpoint", "x.pt"], "inference.yaml' differ in `spacing`"),
        (["{0}", "hippocampus_mr_segmentation"], [], "were trained with spatial_dims=2 and spatial_dims=3: their"),
        (
            ["{0}", "{other}"],
            [],
            r"were trained with class_names=.* and class_names=.* averaged only where it is the same",
        ),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(images, models, tmp_path, names, words, message):
    other = tmp_path / "other"
    shutil.copytree(models[1], other)
    settings = other / "models" / "settings.json"
    settings.write_text(
        json.dumps({**json.loads(settings.read_text()), "class_names": ["nothing", "vessel"], "seed": 7})
    )
    chosen = [name.format(*models, other=other) for name in names]
    with pytest.raises((ValueError, RuntimeError)) as caught:
        predict(images, tmp_path / "out", *chosen, words=words)
    assert re.search(message, str(root_cause(caught.value)))
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.slow
@pytest.mark.parametrize(("size", "suffix"), [((20, 24, 16), ".nii.gz"), ((32, 40), ".png")])
@pytest.mark.parametrize("channels", [1, 2])
def test_data_of_nnunet_from_training_to_scores(tmp_path, capsys, size, suffix, channels):
    """A file a channel; test images in a folder within too, of which one lacks a channel at first."""
    data = tmp_path / "data"
    names = ["imagesTr/a", "imagesTr/b", "imagesTr/c", "imagesTs/d", "imagesTs/p1/e"]
    for seed, name in enumerate(names):
        random = np.random.RandomState(seed)
        mask = blocks(size, 2, 8, random)
        for channel in range(channels):
            path, image = data / f"{name}_{channel:04}{suffix}", image_of(mask, random)
            write_picture(path, image) if suffix == ".png" else write_volume(path, image, (1.0, 1.2, 1.5))
        path = data / (name.replace("images", "labels") + suffix)
        write_picture(path, mask) if suffix == ".png" else write_volume(path, mask, (1.0, 1.2, 1.5))
    about = {"channel_names": {str(i): f"MR {i}" for i in range(channels)}, "numTraining": 3, "file_ending": suffix}
    about["labels"] = {"background": 0, "tumor": 1, "edema": 2}
    (data / "dataset.json").write_text(json.dumps(about))
    words = ["--max_epochs", "1", "--epoch_length", "2", "--device", "cpu"]
    main(["train", str(data), "--output_dir", str(tmp_path / "run"), *words])
    out = tmp_path / "out"
    words = ["predict", str(data / "imagesTs"), "--model", str(tmp_path / "run"), "--output_dir", str(out)]
    words += ["--device", "cpu", "--save_overlays", "true"]
    if channels == 2:
        lost = data / "imagesTs" / "p1" / f"e_0001{suffix}"
        lost.rename(tmp_path / lost.name)
        with pytest.raises((ValueError, RuntimeError)) as caught:
            main(words)
        assert re.search(r"'p1/e' in .* has the channels \['e_0000.*takes 2", str(root_cause(caught.value)))
        (tmp_path / lost.name).rename(lost)
    main(words)
    behind = "_0000" if channels == 1 else ""
    masks = sorted(str(path.relative_to(out)) for path in out.rglob(f"*_seg{suffix}"))
    assert masks == [f"d{behind}_seg{suffix}", f"p1/e{behind}_seg{suffix}"]
    capsys.readouterr()
    main(["evaluate", str(out), str(data / "labelsTs")])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:3]] == [["tumor", "2"], ["edema", "2"]]
    with open(out / "metrics.csv") as file:
        rows = [(row["case"], row["class"]) for row in csv.DictReader(file)]
    assert rows == [(case, name) for case in ("d", "p1/e") for name in ("tumor", "edema")]
