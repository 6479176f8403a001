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

"""A study in small: real trainings on procedural images, each through the command of its bundle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from monai_sscm.bundle import copy_bundle
from monai_sscm.datasets import chest_phantom, write_chest_phantoms, write_vessel_phantoms
from monai_sscm.study import Study, mean_iou, study
from monai_sscm.study.runs import _patients

SMALL = {"zoom": 1.0, "patch_size": "[32,32]", "max_epochs": 1, "epoch_length": 4, "val_interval": 1}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms")
    write_vessel_phantoms(folder, num_train=5, num_val=1, num_test=2, size=64)
    return folder


@pytest.fixture(scope="module")
def done(phantoms, tmp_path_factory) -> Path:
    """A study of two methods, of which a third fails, by the command line."""
    root = tmp_path_factory.mktemp("study")
    (root / "more.yaml").write_text("broken: {values: {method: supervised, learning_rate: none}}\n")
    command = [sys.executable, "-m", "monai_sscm", "study", "--dataset_dir", str(phantoms), "--output_dir", str(root)]
    command += ["--methods", "broken", "supervised", "supmix_sufd", "full_supervision", "--seeds", "0", "--jobs", "2"]
    command += ["--methods_file", str(root / "more.yaml"), "--values", *(f"{k}={v}" for k, v in SMALL.items())]
    process = subprocess.run(command, capture_output=True, text=True, timeout=600)
    (root / "stdout.txt").write_text(process.stdout)
    (root / "stderr.txt").write_text(process.stderr)
    assert process.returncode == 1
    return root


def rows(root: Path) -> list[dict]:
    return [json.loads(line) for line in (root / "results.jsonl").read_text().splitlines()]


def test_a_failed_training_is_reported_and_the_others_continue(done):
    assert [(r["method"], r["num_labeled"]) for r in sorted(rows(done), key=lambda r: r["method"])] == [
        ("full_supervision", 5),
        ("supervised", 2),
        ("supmix_sufd", 2),
    ]
    errors = (done / "stderr.txt").read_text()
    assert errors.strip().splitlines()[-1].startswith("Error: 1 of 4 trainings failed (broken_labeled2_seed0)")
    assert "Traceback" not in errors
    output = (done / "stdout.txt").read_text()
    assert "4 of 4" in output and "min left" in output and "| SupMix + SUFD | 2 | 0 |" in output
    assert all((done / name).is_file() for name in ("summary.csv", "summary.md", "report.html"))


def test_a_result_has_all_that_tables_need(done):
    for row in rows(done):
        assert set(row["images"]) == set(row["patients"]) and len(row["images"]) == 2
        matrices = np.array(list(row["images"].values()))
        assert mean_iou(matrices) == pytest.approx(100 * row["last"]["mean_iou"], abs=1e-2)
        assert len(row["labeled"]) == row["num_labeled"]
        assert row["num_unlabeled"] == 5 - row["num_labeled"]
        assert row["seconds"] > 0 and row["peak_memory_mb"] > 100
        assert row["settings"]["values"]["max_epochs"] == "1" and row["versions"]["monai"]
        assert len(row["curves"]["mean_iou"]) == 1
    # paired: the same labelled images
    by_method = {row["method"]: row for row in rows(done)}
    assert by_method["supervised"]["labeled"] == by_method["supmix_sufd"]["labeled"]


def test_what_is_done_is_not_repeated_and_a_stopped_training_continues(done, phantoms, monkeypatch, tmp_path):
    before = (done / "results.jsonl").read_text()
    arguments = {"dataset_dir": phantoms, "output_dir": done, "seeds": [0], "values": SMALL}
    again = Study("chase_vessel_segmentation", methods=["supervised", "supmix_sufd"], **arguments)
    monkeypatch.setattr(again, "_commands", None)
    assert again.run() == [] and (done / "results.jsonl").read_text() == before
    # a run whose line is not there yet, or half: its checkpoint is taken up, and its training is not repeated
    lines = sorted(before.splitlines(keepends=True), key=lambda line: json.loads(line)["method"] == "supervised")
    (tmp_path / "runs").symlink_to(done / "runs")
    (tmp_path / "results.jsonl").write_text("".join(lines[:-1]) + lines[-1][:500])
    resumed = Study("chase_vessel_segmentation", methods=["supervised"], **{**arguments, "output_dir": tmp_path})
    assert resumed.run() == []
    assert len(resumed.results()) == len(lines)
    old, new = (next(r for r in found if r["method"] == "supervised") for found in (rows(done), resumed.results()))
    assert old["images"] == new["images"]
    assert new["seconds"] > old["seconds"]  # those of the second start are added
    assert old["curves"] == new["curves"]


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda sent: sent.name)
def test_a_signal_stops_the_trainings_which_continue_later(phantoms, tmp_path, sent):
    """By a signal to itself, or, as Ctrl-C in a terminal, to all that was started there."""
    values = {**SMALL, "max_epochs": 400}
    command = [
        sys.executable,
        "-m",
        "monai_sscm",
        "study",
        "--dataset_dir",
        str(phantoms),
        "--output_dir",
        str(tmp_path),
    ]
    command += ["--methods", "supervised", "--seeds", "0", "1", "--values", *(f"{k}={v}" for k, v in values.items())]
    folder = tmp_path / "runs" / "supervised_labeled2_seed0"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, **pipes, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while not (folder / "states" / "last.pt").is_file() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, sent)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + sent and "failed" not in output and "Traceback" not in errors
    assert not (tmp_path / "results.jsonl").exists()
    # nothing writes there any more, the second training did not begin, and a checkpoint is there to go on from
    written = (folder / "states" / "last.pt").stat().st_mtime
    time.sleep(2)
    assert (folder / "states" / "last.pt").stat().st_mtime == written
    assert not (tmp_path / "runs" / "supervised_labeled2_seed1").exists()
    assert 0 < torch.load(folder / "states" / "last.pt", weights_only=True)["trainer"]["iteration"] < 1600


def test_other_settings_are_refused_in_the_same_folder(done, phantoms):
    with pytest.raises(ValueError, match="choose another `output_dir`"):
        Study("chase_vessel_segmentation", phantoms, done, ["supervised"], values={**SMALL, "max_epochs": 2})
    with pytest.raises(ValueError, match="choose another `output_dir`"):
        Study("chase_vessel_segmentation", phantoms, done, ["supervised"], values=SMALL, part="val")
    with pytest.raises(ValueError, match="choose another `output_dir`"):
        Study("covid19_ct_segmentation", phantoms, done, ["supervised"], values=SMALL)


def test_wrong_arguments_are_refused_before_any_training(phantoms, tmp_path):
    def refused(message: str, **arguments) -> None:
        with pytest.raises(ValueError, match=message):
            study(**{"dataset_dir": phantoms, "output_dir": tmp_path / "out", "methods": ["supervised"], **arguments})
        assert not (tmp_path / "out" / "runs").exists()

    refused("There is no method 'supermix': choose among supervised", methods=["supermix"])
    refused("There is no method 'supermix' to compare with", reference="supermix")
    more = tmp_path / "more.yaml"
    more.write_text("mine: {values: {paste_prob: 0.5}}")
    missing = "configs/train.yaml' has no method 'mine': add it under `methods`"
    refused(missing, methods=["mine"], methods_file=more)
    refused("6 labeled images are asked for, there are 5", num_labeled=[2, 6])
    refused("There is no bundle 'mine': choose one of .*, or the folder of a bundle", bundle="mine")
    refused("Without `dataset_dir`", dataset_dir=None, bundle="covid19_ct_segmentation")
    own = tmp_path / "own"
    write_vessel_phantoms(own, num_train=4, num_val=1, num_test=0, size=32)
    refused("has no test images", dataset_dir=own)


def test_lists_are_those_of_the_values(phantoms, tmp_path):
    """What is recorded of a training, and what the intervals draw, follow the values that it had."""
    data = tmp_path / "data"
    write_chest_phantoms(data, num_train=4, num_val=1, num_test=1, size=64, num_slices=4)
    planned = Study("covid19_ct_segmentation", data, tmp_path / "out", ["supmix"], values={"group_pattern": "(.+)"})
    assert planned.values["group_pattern"] == "(.+)"
    assert [len(planned._datalist({"num_labeled": n})["unlabeled"]) for n in (2, 3)] == [2, 1]
    assert len(planned._datalist({"method": "supervised"})["labeled"]) == 4
    # a patient's photographs stay on one side
    images = tmp_path / "eyes" / "images"
    write_vessel_phantoms(tmp_path / "eyes", num_train=10, num_val=0, num_test=0, size=32)
    for folder in (images, images.parent / "labels"):
        for k, path in enumerate(sorted(folder.iterdir())):
            path.rename(folder / f"p{k // 2}_{'LR'[k % 2]}{path.suffix}")
    (tmp_path / "eyes" / "split.json").unlink()
    eyes = Study(
        "chase_vessel_segmentation",
        tmp_path / "eyes",
        tmp_path / "out",
        ["supmix"],
        part="val",
        group_pattern="(p.)_",
        values={"val_fraction": 0.2},
    )
    assert [Path(item["image"]).name[3] for item in eyes._datalist({})["val"]] == ["L", "R"]
    assert eyes.values == {"group_pattern": "(p.)_", "val_fraction": 0.2}


@pytest.mark.parametrize(("num_val", "values"), [(0, SMALL), (1, {**SMALL, "val_interval": 2})])
def test_a_study_without_validation_works(tmp_path, num_val, values):
    """Without validation images, and where the epochs are fewer than from one validation to the next."""
    write_vessel_phantoms(tmp_path / "data", num_train=4, num_val=num_val, num_test=1, size=64)
    found = study(
        "chase_vessel_segmentation", tmp_path / "data", tmp_path / "out", ["supmix_sufd"], [2], [0], values=values
    )
    assert len(found) == 1 and "best" not in found[0] and found[0]["last"]["mean_iou"] > 0
    assert "best on validation" not in (tmp_path / "out" / "summary.md").read_text()
    assert (tmp_path / "out" / "report.html").is_file() and not (tmp_path / "out" / ".lock").exists()


def test_patients_are_those_of_the_lists():
    lists = [{"image": "a/p1_L.png", "group": "p1"}, {"image": "a/p1_R.png", "group": "p1"}]
    assert _patients(lists) == {"p1_L": "p1", "p1_R": "p1"}
    assert _patients([{"image": "s.nii.gz", "slice": n, "group": "s"} for n in (3, 4)]) == {"s_3": "s", "s_4": "s"}
    assert _patients([{"image": "8.png"}, {"image": "29.png"}]) == {"8": "8", "29": "29"}


def test_slices_of_a_scan_are_one_patient(tmp_path):
    """With a copied bundle, which is given by its folder."""
    bundle = Path(copy_bundle("covid19_ct_segmentation", tmp_path / "mine"))
    data = tmp_path / "data"
    write_chest_phantoms(data, num_train=4, num_val=1, num_test=2, size=64, num_slices=4)
    values = {"size": "[48,48]", "patch_size": "[32,32]", "max_epochs": 1, "epoch_length": 2, "val_interval": 1}
    found = study(bundle, data, tmp_path / "out", ["supmix"], [2], [0], values=values)
    assert found[0]["settings"]["bundle"] == str(bundle)
    assert len(found) == 1 and len(found[0]["images"]) == len(set(found[0]["patients"].values())) == 2


def test_slices_of_a_stack_are_scored_one_by_one(tmp_path):
    slices = [chest_phantom(64, 1, seed) for seed in range(8)]
    for name, index in (("tr_im.nii.gz", 0), ("tr_mask.nii.gz", 1)):
        array = np.concatenate([s[index] for s in slices], axis=-1)
        sitk.WriteImage(sitk.GetImageFromArray(array.transpose()), str(tmp_path / name))
    split = {"train": [0, 1, 2, 3], "val": [4], "test": [5, 6, 7], "kept_together": [[5, 7]]}
    (tmp_path / "split.json").write_text(json.dumps(split))
    values = {"size": "[48,48]", "patch_size": "[32,32]", "max_epochs": 1, "epoch_length": 2, "val_interval": 1}
    found = study("covid19_ct_segmentation", tmp_path, tmp_path / "out", ["supmix"], [2], [0], values=values)
    images, of = found[0]["images"], found[0]["patients"]
    assert set(images) == set(of) == {"tr_im_5", "tr_im_6", "tr_im_7"}
    assert of["tr_im_5"] == of["tr_im_7"] != of["tr_im_6"]
    # the masks are those of these slices, told by their class shares
    for number in (5, 6, 7):
        truth = np.array(images[f"tr_im_{number}"]).sum(axis=1)
        assert truth.tolist() == np.bincount(slices[number][1].ravel().astype(int), minlength=3).tolist()
