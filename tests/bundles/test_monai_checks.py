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

"""What MONAI and its model zoo ask of a bundle; MONAI's commands are run by ``.ci/bundles``."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser, create_workflow

from tests.helpers.bundles import SMALL

ROOT = Path(__file__).parents[2]
BUNDLES = sorted(path.parent.parent for path in (ROOT / "bundles").glob("*/configs/metadata.json"))
CONFIGS = ROOT / "bundles" / "chase_vessel_segmentation" / "configs"


def needs_weights(path: Path) -> None:
    if not (path / "models" / "model.pt").is_file():
        pytest.skip(f"{path.name} has no weights yet")


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.name)
def test_model_zoo_rules(path):
    files = {str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()}
    wanted = {"LICENSE", "docs/README.md", "docs/data_license.txt", "configs/logging.conf", "configs/metadata.json"}
    wanted |= {f"configs/{name}.yaml" for name in ("train", "evaluate", "inference")}
    wanted |= {"configs/multi_gpu_train.yaml", "configs/multi_gpu_evaluate.yaml"}
    assert wanted <= files
    weights = {"models/model.pt", "models/settings.json"}
    assert weights <= files or not weights & files, "weights and their settings belong together"
    assert all(p.stat().st_size <= 25 * 2**20 for p in path.rglob("*") if p.is_file())
    metadata = json.loads((path / "configs" / "metadata.json").read_text())
    assert metadata["version"] in metadata["changelog"]
    for name in files:
        if Path(name).suffix in {".yaml", ".json", ".md", ".txt", ".conf"}:
            text = (path / name).read_text()
            assert not any(personal in text for personal in ("/home/", "/root/", "/Users/", "C:\\")), name


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.name)
def test_metadata_names_the_versions_of_the_constraints(path):
    metadata = json.loads((path / "configs" / "metadata.json").read_text())
    lines = [line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    pins = dict(line.split(";")[0].strip().split("==") for line in lines if "==" in line and "< '3.11'" not in line)
    pins = {name.lower(): version.strip() for name, version in pins.items()}
    named = {
        "monai": metadata["monai_version"],
        "torch": metadata["pytorch_version"],
        "numpy": metadata["numpy_version"],
    }
    named |= metadata["required_packages_version"]
    assert named.pop("monai_sscm") == metadata["version"]
    assert named == {name: pins[name] for name in named}


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.name)
@pytest.mark.parametrize(
    ("kind", "configs"),
    [("train", ["train"]), ("evaluation", ["train", "evaluate"]), ("inference", ["inference"])],
)
def test_no_property_is_missing(phantoms, tmp_path, path, kind, configs):
    if kind != "train":
        needs_weights(path)
    files = [str(path / "configs" / f"{name}.yaml") for name in configs]
    values = {"output_dir": str(tmp_path)}
    values |= {} if kind == "train" else {"checkpoint": str(path / "models" / "model.pt")}
    values |= {} if kind == "inference" else {"dataset_dir": str(phantoms[path.name]), **SMALL[path.name]}
    meta = path / "configs" / "metadata.json"
    workflow = create_workflow(workflow_type=kind, config_file=files, meta_file=str(meta), logging_file=False, **values)
    assert workflow.check_properties() == []
    assert workflow.device.type in ("cpu", "cuda") and workflow.version == json.loads(meta.read_text())["version"]


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.name)
def test_training_evaluation_and_inference_share_the_network(path):
    """And the last two how images are seen, which is how the shipped weights were trained."""
    needs_weights(path)
    seen = ["patch_size", {"chase": "zoom", "covid": "size", "hippo": "spacing"}[path.name[:5]]]
    found = []
    for names in (["train"], ["train", "evaluate"], ["inference"]):
        parser = ConfigParser()
        parser.read_config([str(path / "configs" / f"{name}.yaml") for name in names])
        parser.update({"bundle_root": str(path), "checkpoint": str(path / "models" / "model.pt")})
        shared = [parser.get_parsed_content("class_names"), str(parser.get_parsed_content("network"))]
        found.append((shared, [parser.get_parsed_content(name) for name in seen]))
    assert found[0][0] == found[1][0] == found[2][0]
    assert found[1][1] == found[2][1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("chase_vessel_segmentation", "supmix_sufd"),
        ("chase_vessel_segmentation", "classmix"),
        ("covid19_ct_segmentation", "supmix_sufd"),
        ("hippocampus_mr_segmentation", "supmix_sufd"),
    ],
)
def test_torchrun_trains_and_evaluates(phantoms, tmp_path, name, method):
    """Two processes on the CPU."""

    def torchrun(*names: str, **values) -> subprocess.CompletedProcess:
        files = [str(ROOT / "bundles" / name / "configs" / f"{n}.yaml") for n in names]
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
        command += ["-m", "monai.bundle", "run", "--config_file", str(files)]
        values = {
            "dataset_dir": phantoms[name],
            "output_dir": tmp_path,
            "patch_size": [32, 32],
            "method": method,
            **SMALL[name],
            **values,
        }
        for key, value in values.items():
            command += [f"--{key}", str(value)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        return subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)

    short = {"max_epochs": 2, "epoch_length": 4, "val_interval": 1, "adversarial_interval": 2}
    trained = torchrun("train", "multi_gpu_train", **short)
    assert trained.returncode == 0, trained.stderr[-3000:]
    assert trained.stdout.count(" (validation)") == 2  # one process speaks, at two validations
    state = torch.load(tmp_path / "states" / "last.pt", weights_only=True)
    assert state["trainer"]["iteration"] == 8 and ("discriminator" in state["trainer"]) == (method == "supmix_sufd")
    assert len(list(tmp_path.glob("logs/events.out.tfevents.*"))) == 1
    if method != "supmix_sufd":
        return  # what follows is alike for all methods
    resumed = torchrun("train", "multi_gpu_train", resume="true", **short)
    assert resumed.returncode == 0 and "after iteration 8" in resumed.stdout, resumed.stderr[-3000:]

    scores = []
    for names in (("multi_gpu_evaluate",), ()):
        run = torchrun("train", "evaluate", *names, part="test", evaluation_dir=tmp_path / f"scores_{len(names)}")
        assert run.returncode == 0, run.stderr[-3000:]
        with open(tmp_path / f"scores_{len(names)}" / "metrics.csv") as file:
            scores.append({row[0]: float(row[1]) for row in csv.reader(file)})
    # three images over two processes, or each on its own: the same figures
    assert scores[0] == pytest.approx(scores[1], abs=1e-6, nan_ok=True) and 0 < scores[0]["mean_iou"] < 1


@pytest.mark.slow
def test_the_slurm_script_trains_on_two_nodes(phantoms, tmp_path):
    """Two "nodes" on this machine: a stand-in for srun starts the node's command once for each."""
    programs = tmp_path / "bin"
    programs.mkdir()
    written = {
        "python": f'exec {sys.executable} "$@"',
        "torchrun": f'exec {sys.executable} -m torch.distributed.run "$@"',
        "scontrol": "echo 127.0.0.1; echo 127.0.0.2",
        "srun": 'SLURM_NODEID=0 "$@" & first=$!; SLURM_NODEID=1 "$@"; second=$?; wait $first && exit $second',
    }
    for name, line in written.items():
        (programs / name).write_text(f"#!/usr/bin/env bash\n{line}\n")
        (programs / name).chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    environment |= {"SLURM_NNODES": "2", "SLURM_JOB_NODELIST": "node[1-2]", "METHOD": "supmix"}
    environment |= {"MASTER_PORT": str(port), "CUDA_VISIBLE_DEVICES": ""}
    values = {"dataset_dir": phantoms["chase_vessel_segmentation"], "output_dir": tmp_path / "run"}
    values |= {"num_labeled": 2, "patch_size": [32, 32], "zoom": 1.0, "epoch_length": 4, "val_interval": 1}
    for max_epochs in (2, 2):  # put back in the queue, it goes on
        command = ["bash", str(ROOT / "tutorials" / "train.slurm"), "--max_epochs", str(max_epochs)]
        command += [part for key, value in values.items() for part in (f"--{key}", str(value))]
        run = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
        assert run.returncode == 0, run.stderr[-3000:]
    assert "after iteration 8" in run.stdout + run.stderr
    state = torch.load(tmp_path / "run" / "states" / "last.pt", weights_only=True)
    assert state["trainer"]["iteration"] == 8 and "discriminator" not in state["trainer"]
