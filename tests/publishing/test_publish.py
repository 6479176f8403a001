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

"""Bundles for the model zoo and for Hugging Face."""

from __future__ import annotations

import ast
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from monai.bundle import load

from monai_sscm.bundle import bundle_names, copy_bundle
from monai_sscm.cli.main import main
from monai_sscm.publishing import publish_bundle
from tests.helpers.bundles import BUNDLES

HEADINGS = ["Model Description", "Data", "Performance", "Additional Usage Steps", "System Configuration", "Limitations"]


@pytest.mark.parametrize("name", bundle_names())
def test_the_zoo_form(tmp_path, name):
    root = Path(publish_bundle(name, tmp_path / "zoo", "zoo"))
    assert root == tmp_path / "zoo" / "models" / name
    for path in (BUNDLES / name / "configs").glob("*.yaml"):
        text = (root / "configs" / f"{path.stem}.json").read_text()
        assert json.loads(text) == yaml.safe_load(path.read_text("utf-8"))
        assert (root / "configs" / path.name).read_text("utf-8") == path.read_text("utf-8")
        # as the zoo's pre-commit hook, pretty-format-json, would write it
        assert text == json.dumps(json.loads(text), indent=4) + "\n"
    assert not list((BUNDLES / name / "configs").glob("train.json"))  # generated, and checked in nowhere
    assert all(path.stat().st_size <= 25 * 2**20 for path in root.rglob("*") if path.is_file())
    text = (root / "docs" / "README.md").read_text("utf-8")
    headings = [line[5:-2] for line in text.splitlines() if line.startswith("## ")]
    assert headings == [*HEADINGS, "Citation Info", "References"]
    # nothing of our own README is lost
    own = (BUNDLES / name / "docs" / "README.md").read_text("utf-8")
    missing = [line for line in own.splitlines() if line and not line.startswith("#") and line not in text]
    assert missing == []
    test = (tmp_path / "zoo" / "ci" / "unit_tests" / f"test_{name}.py").read_text()
    assert "@" not in test and f'BUNDLE_ROOT = "models/{name}"' in test
    ast.parse(test)


@pytest.mark.parametrize("name", bundle_names())
def test_monai_loads_the_network(tmp_path, name, monkeypatch):
    """By default file names, with the weights in it."""
    publish_bundle(name, tmp_path / "hub" / name, "huggingface")
    monkeypatch.chdir(tmp_path)
    network = load(name, bundle_dir=tmp_path / "hub", device="cpu")
    weights = torch.load(BUNDLES / name / "models" / "model.pt", weights_only=True)
    assert isinstance(network, torch.nn.Module)
    state = network.state_dict()
    assert state.keys() == weights.keys() and all(torch.equal(state[key], weights[key]) for key in state)


def test_the_model_card(tmp_path):
    root = Path(publish_bundle("covid19_ct_segmentation", tmp_path / "card", "huggingface"))
    assert root == tmp_path / "card" and not (root / "docs" / "README.md").exists()
    _, head, body = (root / "README.md").read_text("utf-8").split("---\n", 2)
    card = yaml.safe_load(head)
    assert card["library_name"] == "monai" and card["license"] == "apache-2.0" and "ct" in card["tags"]
    assert "# COVID-19 CT segmentation" in body and "from monai.bundle import load" in body


def test_a_training_without_what_is_personal(tmp_path, capsys):
    """The folder of a training: its data's folder, lists of files, logs and states stay at home."""
    run = Path(copy_bundle("chase_vessel_segmentation", tmp_path / "mine"))
    data = "/data/hospital/fundus"
    train = run / "configs" / "train.yaml"
    text = train.read_text("utf-8").replace("dataset_dir: data/chase_db1", f"dataset_dir: {data}")
    text = text.replace("init_from: null", "init_from: /data/hospital/first/models/model.pt")
    train.write_text(f"# Planned for {data}\n" + text, "utf-8")
    for name in ("docs/plan.md", "docs/fingerprint.json", "states/last.pt", "logs/events"):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text(data)
    main(["bundle", str(run), "--to", str(tmp_path / "zoo"), "--as", "zoo"])
    root = Path(capsys.readouterr().out.strip())
    assert {path.name for path in root.iterdir()} == {"LICENSE", "configs", "docs", "models"}
    texts = [path.read_text("utf-8") for path in root.rglob("*") if path.is_file() and path.suffix != ".pt"]
    assert not any("hospital" in text for text in texts)
    config = yaml.safe_load((root / "configs" / "train.yaml").read_text("utf-8"))
    assert config["dataset_dir"] == "data" and config["init_from"] is None


def test_what_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="There is no form 'cd': choose one of zoo, huggingface"):
        publish_bundle("chase_vessel_segmentation", tmp_path / "x", "cd")
    with pytest.raises(ValueError, match=r"`--as zoo` writes a folder: name it by `--to FOLDER`"):
        main(["bundle", "chase_vessel_segmentation", "--as", "zoo"])
    with pytest.raises(ValueError, match="There is no bundle 'chase'"):
        main(["bundle", "chase"])
    with pytest.raises(FileExistsError, match="exists"):
        publish_bundle("chase_vessel_segmentation", tmp_path, "zoo")
    planned = tmp_path / "planned"
    shutil.copytree(BUNDLES / "chase_vessel_segmentation", planned, ignore=shutil.ignore_patterns("LICENSE"))
    with pytest.raises(ValueError, match="planned' has no LICENSE: put the license of the weights there"):
        publish_bundle(planned, tmp_path / "x", "zoo")
    # nothing half-written stays
    monkeypatch.setattr("monai_sscm.publishing.publish.unit_test", lambda source: os.listdir("/nowhere"))
    with pytest.raises(FileNotFoundError):
        publish_bundle("chase_vessel_segmentation", tmp_path / "x", "zoo")
    assert {path.name for path in tmp_path.iterdir()} == {"planned"}
