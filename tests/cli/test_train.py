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

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from monai_sscm.cli.main import main
from monai_sscm.errors import root_cause

SHORT = ["--max_epochs", "2", "--epoch_length", "3", "--patch_size", "[32,32]"]
SHORT += ["--method", "supmix_cutmix"]  # the plan of vessels would learn from masks alone
SHORT += ["--device", "cpu"]


@pytest.fixture(scope="module")
def data(vessel_phantoms, tmp_path_factory) -> Path:
    """Three labelled and two unlabelled photographs, none for validation."""
    folder = tmp_path_factory.mktemp("few") / "photographs"
    for kind in ("images", "labels", "unlabeled_images"):
        (folder / kind).mkdir(parents=True)
    for i, path in enumerate(sorted((vessel_phantoms / "images").iterdir())[:5]):
        shutil.copy(path, folder / ("images" if i < 3 else "unlabeled_images"))
        if i < 3:
            shutil.copy(vessel_phantoms / "labels" / path.name, folder / "labels")
    return folder


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    main(["train", str(data), "--output_dir", str(folder), "--lr_scheduler#power", "0.8", *SHORT])
    return folder


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_becomes_a_trained_bundle(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["train", str(data), *SHORT])
    run = tmp_path / "runs" / "photographs"
    lines = capsys.readouterr().out.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("3 labeled, 2 unlabeled, no validation images"))
    assert first > 5  # the plan stands before it
    assert lines[first + 1].startswith("epoch 1/2, loss ") and lines[first + 2].startswith("epoch 2/2, loss ")
    assert lines[first + 4] == (
        "Next: monai-sscm predict IMAGES --model runs/photographs --output_dir masks, "
        "then monai-sscm evaluate masks LABELS"
    )
    assert len(lines) == first + 5
    state = torch.load(run / "states" / "last.pt", weights_only=True)
    assert state["trainer"]["iteration"] == 6 and not (run / "states" / "best.pt").exists()
    assert {"train.yaml", "inference.yaml", "metadata.json"} <= {path.name for path in (run / "configs").iterdir()}
    assert json.loads((run / "models" / "settings.json").read_text())["patch_size"] == [32, 32]


def test_values_reach_the_training_and_stay(trained):
    written = yaml.safe_load((trained / "configs" / "train.yaml").read_text())
    assert written["max_epochs"] == 2 and written["lr_scheduler#power"] == 0.8
    state = torch.load(trained / "states" / "last.pt", weights_only=True)
    assert state["lr_scheduler"]["power"] == 0.8


def test_a_finished_training_is_not_touched(data, trained, capsys):
    before = files(trained)
    main(["train", str(data), "--output_dir", str(trained)])
    main(["train", str(data), "--output_dir", str(trained), "--lr_scheduler#power", "0.8", *SHORT])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"The training in {str(trained)!r} is finished. Its result: {trained / 'models' / 'model.pt'}."
    assert lines[1].startswith(f"Next: monai-sscm predict IMAGES --model {trained} ") and lines[2:] == lines[:2]
    assert files(trained) == before


def test_a_finished_training_is_made_longer(data, trained, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    main(["train", str(data), "--output_dir", str(run), "--resume", "true", "--max_epochs", "3"])
    assert "resumed after iteration 6" in capsys.readouterr().out
    assert torch.load(run / "states" / "last.pt", weights_only=True)["trainer"]["iteration"] == 9
    main(["train", str(data), "--output_dir", str(run)])
    assert "is finished" in capsys.readouterr().out
    # a command that was killed before its first checkpoint has written what it was to do
    config = run / "configs" / "train.yaml"
    config.write_text(config.read_text().replace("\nmax_epochs: 3", "\nmax_epochs: 4"))
    main(["train", str(data), "--output_dir", str(run)])
    assert torch.load(run / "states" / "last.pt", weights_only=True)["trainer"]["iteration"] == 12


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seed", "1"], "has seed=0, not 1: leave `--seed` out"),
        (["--method", "classmix"], "has method=supmix_cutmix, not classmix"),
        (["--lr_scheduler#power", "0.7"], "has lr_scheduler#power=0.8, not 0.7"),
        (["--max_epochs", "4"], "has max_epochs=2, not 4: .* `--resume true --max_epochs 4` makes it longer"),
        (["--max_epoch", "4"], "no `max_epoch` in .*train.yaml: did you mean `--max_epochs`"),
        (["--max_epochs", "0"], "`max_epochs` must be a whole number of at least 1"),
    ],
)
def test_other_values_are_refused(data, trained, words, message):
    before = files(trained)
    with pytest.raises(ValueError, match=message):
        main(["train", str(data), "--output_dir", str(trained), *words])
    assert files(trained) == before


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("datalist", "3", "TypeError: 'int' object is not subscriptable"),
        ("optimizer#lr", "a", "TypeError"),
        ("loss", "3", "TypeError: 'int' object is not callable"),  # at the first step
        ("lr_scheduler#power", "$1/0", "ZeroDivisionError"),
    ],
)
def test_what_stands_in_place_of_a_part_and_does_not_run_is_named(data, tmp_path, option, value, message):
    with pytest.raises(ValueError, match=rf"does not run with `--{option} .*in place of what stands in .*\({message}"):
        main(["train", str(data), "--output_dir", str(tmp_path / "run"), *SHORT, f"--{option}", value])


def test_class_shares_need_not_be_kept(data, tmp_path):
    main(["train", str(data), "--output_dir", str(tmp_path / "run"), *SHORT, "--keep_class_shares", "false"])
    assert (tmp_path / "run" / "models" / "model.pt").is_file()


def test_another_folder_is_refused(vessel_phantoms, trained):
    with pytest.raises(
        ValueError, match="is a training on '.*photographs', not on '.*': choose another `--output_dir`"
    ):
        main(["train", str(vessel_phantoms), "--output_dir", str(trained)])


def test_a_data_set_that_was_moved_is_the_same_and_one_that_grew_is_not(data, trained, tmp_path, capsys):
    """The names that are compared are those within its folder."""
    moved, run = tmp_path / "moved", tmp_path / "run"
    shutil.copytree(data, moved)
    shutil.copytree(trained, run)
    config = run / "configs" / "train.yaml"
    config.write_text(config.read_text().replace(str(data), str(tmp_path / "gone")))
    command = ["train", str(moved), "--output_dir", str(run)]
    main([*command, "--resume", "true", "--max_epochs", "3"])
    assert torch.load(run / "states" / "last.pt", weights_only=True)["trainer"]["iteration"] == 9
    shutil.copy(next((moved / "labels").iterdir()), moved / "unlabeled_images" / "new.png")
    before = (run / "states" / "last.pt").read_bytes()
    with pytest.raises(RuntimeError) as error:
        main([*command, "--resume", "true", "--max_epochs", "4"])
    assert "(unlabeled images: 1 added (unlabeled_images/new.png)): restore the data" in str(root_cause(error.value))
    assert (run / "states" / "last.pt").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--max_epoch", "4"],
            "There is no `max_epoch` in the configuration of a training: did you mean `--max_epochs`",
        ),
        (["--learning_rate", "fast"], "`learning_rate` must be a number above 0, got 'fast'"),
        (["--part", "test"], "There is no `part` in"),
        (["--bundle_root", "x"], "Leave out `--bundle_root`"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_written(data, tmp_path, words, message):
    with pytest.raises(ValueError, match=message):
        main(["train", str(data), "--output_dir", str(tmp_path / "run"), *words])
    assert not (tmp_path / "run").exists()


def test_a_bundle_is_not_planned_anew(data, tmp_path, monkeypatch):
    """Neither a copy of a shipped one, whose data are others."""
    copy = tmp_path / "mine"
    main(["bundle", "chase_vessel_segmentation", "--to", str(copy)])
    monkeypatch.setattr("monai_sscm.planning.plan_bundle", lambda *args: pytest.fail("it is planned"))
    main(["train", str(data), "--output_dir", str(copy), "--zoom", "1.0", *SHORT])
    written = yaml.safe_load((copy / "configs" / "train.yaml").read_text())
    assert written["dataset_dir"] == str(data) and written["zoom"] == 1.0
    assert (copy / "states" / "last.pt").is_file()


def test_a_plan_for_other_data_is_refused(data, vessel_phantoms, tmp_path):
    main(["plan", str(data), "--to", str(tmp_path / "run")])
    with pytest.raises(ValueError, match="is a training on"):
        main(["train", str(vessel_phantoms), "--output_dir", str(tmp_path / "run")])


def test_several_processes_need_a_plan(data, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=r"`monai-sscm plan .*photographs --to .*run`, then the same command again"):
        main(["train", str(data), "--output_dir", str(tmp_path / "run")])


@pytest.mark.slow
def test_ctrl_c_saves_and_the_same_command_goes_on(data, tmp_path):
    command = [sys.executable, "-m", "monai_sscm", "train", str(data), "--output_dir", str(tmp_path / "run")]
    command += [*SHORT, "--max_epochs", "60"]
    del command[command.index("2") - 1 : command.index("2") + 1]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    for _ in range(900):
        if (tmp_path / "run" / "states" / "last.pt").is_file() or process.poll() is not None:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    iteration = torch.load(tmp_path / "run" / "states" / "last.pt", weights_only=True)["trainer"]["iteration"]
    assert 3 <= iteration < 180
    assert f"after iteration {iteration}, saved to" in err.splitlines()[-2]
    assert err.splitlines()[-1] == "The same command goes on from there."
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr
    assert f"resumed after iteration {iteration}" in done.stdout and "input summary" not in done.stdout
    assert torch.load(tmp_path / "run" / "states" / "last.pt", weights_only=True)["trainer"]["iteration"] == 180


@pytest.mark.slow
def test_torchrun_trains_what_is_planned(data, tmp_path):
    main(["plan", str(data), "--to", str(tmp_path / "run"), *SHORT[:-2]])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "monai_sscm"]
    command += ["train", str(data), "--output_dir", str(tmp_path / "run"), "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 2/2") == 1  # one process speaks
    assert torch.load(tmp_path / "run" / "states" / "last.pt", weights_only=True)["trainer"]["iteration"] == 6
