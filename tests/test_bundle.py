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

import logging
from pathlib import Path

import pytest
import torch
import yaml
from monai.bundle import ConfigParser, ConfigWorkflow

from monai_sscm.bundle import (
    bundle_names,
    bundle_root,
    copy_bundle,
    find_bundle,
    find_weights,
    run_config,
    write_run,
)
from monai_sscm.options import Options
from tests.helpers.bundles import BUNDLES, CONFIGS, workflow


def test_bundles_are_found_and_copied(tmp_path):
    assert bundle_names() == sorted(path.parent.parent.name for path in BUNDLES.glob("*/configs/metadata.json"))
    assert Path(find_bundle("chase_vessel_segmentation")).samefile(CONFIGS.parent)
    copy = Path(copy_bundle("chase_vessel_segmentation", tmp_path / "mine"))
    assert {p.name for p in (copy / "configs").iterdir()} == {p.name for p in CONFIGS.iterdir()}
    assert (copy / "models" / "model.pt").is_file() and find_bundle(copy) == str(copy)
    with pytest.raises(FileExistsError, match="mine' exists"):
        copy_bundle("chase_vessel_segmentation", tmp_path / "mine")
    for name in ("chase", tmp_path):
        with pytest.raises(ValueError, match="There is no bundle .*: choose one of chase_vessel_segmentation"):
            find_bundle(name)


def test_weights_are_found_by_a_name_a_folder_or_a_file(tmp_path):
    shipped = CONFIGS.parent / "models" / "model.pt"
    for source in ("chase_vessel_segmentation", CONFIGS.parent, shipped):
        assert Path(find_weights(source)).samefile(shipped)
    for name in ("states/last.pt", "models/model.pt"):  # of a training that is not finished, and then is
        (tmp_path / name).parent.mkdir()
        torch.save({}, tmp_path / name)
        assert find_weights(tmp_path) == str(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="There are no weights 'chase': give one of chase_vessel_segmentation"):
        find_weights("chase")


@pytest.mark.parametrize("bundle", bundle_names())
def test_the_folder_of_a_training_is_a_bundle(phantoms, tmp_path, monkeypatch, bundle):
    run = workflow(phantoms[bundle], tmp_path / "run", bundle=bundle, method="classmix", group_pattern="(.+)")
    run.initialize()
    run.run()
    run.finalize()
    names = {path.name for path in (BUNDLES / bundle / "configs").iterdir()}
    assert {path.name for path in (tmp_path / "run" / "configs").iterdir()} == names
    monkeypatch.chdir(tmp_path / "run")
    # the values of this training stand in its configuration, which resumes it from its folder
    again = ConfigWorkflow("configs/train.yaml", workflow_type="train", logging_file=False, resume=True)
    first, second = (dict(x.parser.get_parsed_content("options")) for x in (run, again))
    different = {"resume", "output_dir", "device"}
    assert {k: v for k, v in first.items() if k not in different} == {
        k: v for k, v in second.items() if k not in different
    }
    again.initialize()
    again.run()
    assert again.parser.get_parsed_content("train#trainer").state.iteration == 8
    # and its result is what its inference takes
    parser = ConfigParser()
    parser.read_config("configs/inference.yaml")
    network = parser.get_parsed_content("network")
    network.load_state_dict(torch.load(parser.get_parsed_content("checkpoint"), weights_only=True))
    teacher = run.parser.get_parsed_content("teacher").state_dict()
    assert all(torch.equal(value, teacher[name]) for name, value in network.state_dict().items())
    assert parser.get_parsed_content("class_names") == first["class_names"]


def test_a_bundle_is_where_its_configuration_is(tmp_path, monkeypatch):
    copy = Path(copy_bundle("chase_vessel_segmentation", tmp_path / "mine"))
    shipped = find_bundle("chase_vessel_segmentation")
    assert bundle_root("chase_vessel_segmentation") == shipped
    monkeypatch.chdir(copy)
    assert bundle_root("chase_vessel_segmentation") == str(copy)
    assert bundle_root("covid19_ct_segmentation") == find_bundle("covid19_ct_segmentation")  # not what is here
    # the command's file goes first, wherever the command is typed
    command = ["/lib/monai/bundle/__main__.py", "run", "--config_file"]
    monkeypatch.setattr("sys.argv", [*command, str(CONFIGS / "train.yaml")])
    assert bundle_root("chase_vessel_segmentation") == shipped
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [*command, "['mine/configs/train.yaml','mine/configs/evaluate.yaml']"])
    assert bundle_root("chase_vessel_segmentation") == str(copy)


def test_what_is_refused_changes_no_file(phantoms, tmp_path):
    data = phantoms["chase_vessel_segmentation"]

    def files() -> dict[Path, bytes]:
        found = (path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "logs")
        found = (path for path in found if path.name != ".lock")  # a process keeps it that may try again
        return {path: path.read_bytes() for path in found}

    def start(**values) -> None:
        run = workflow(data, tmp_path, max_epochs=1, method=values.pop("method", "supervised"), **values)
        run.initialize()
        run.run()
        run.finalize()

    start()
    before = files()
    for values in ({"resume": True, "learning_rate": 0.5}, {"method": "none"}, {"dataset_dir": "/nowhere"}):
        with pytest.raises((ValueError, OSError, RuntimeError)):
            start(**values)
        assert files() == before
    start(resume=True)
    assert files().keys() == before.keys()
    start(learning_rate=0.5)
    earlier = tmp_path / "earlier" / "1"
    assert {path: (earlier / path.relative_to(tmp_path)).read_bytes() for path in before} == before


def test_the_values_of_a_run_are_written_as_yaml(tmp_path, monkeypatch):
    values = {"class_names": ["a: b", "null", "c"], "group_pattern": "(p[0-9]+)_#", "amp": None, "zoom": 0.5}
    options = Options(dataset_dir="data", output_dir=tmp_path / "run", **values)
    words = ["/lib/monai/bundle/__main__.py", "run", "--config_file", "train.yaml", "--lr_scheduler#power", "3"]
    words += ["--loss", "{_target_: DiceLoss}"]
    monkeypatch.setattr("sys.argv", words)
    write_run(CONFIGS.parent, options)
    written = yaml.safe_load((tmp_path / "run" / "configs" / "train.yaml").read_text())
    assert {name: written[name] for name in values} == values
    assert written["output_dir"] == "$@bundle_root" and Path(written["dataset_dir"]).is_absolute()
    # no options, and yet what this training is
    assert written["lr_scheduler#power"] == 3 and written["loss"] == {"_target_": "DiceLoss"}
    # weights to start from are there wherever it goes on
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.pt").touch()
    for source, known in (("other.pt", str(tmp_path / "other.pt")), ("chase_vessel_segmentation",) * 2):
        write_run(CONFIGS.parent, {**options, "init_from": source})
        assert yaml.safe_load((tmp_path / "run" / "configs" / "train.yaml").read_text())["init_from"] == known
    # again from there, in place
    again = Options(**{**options, "zoom": 0.75, "dataset_dir": written["dataset_dir"]})
    write_run(tmp_path / "run", again)
    written = yaml.safe_load((tmp_path / "run" / "configs" / "train.yaml").read_text())
    assert written["zoom"] == 0.75 and written["lr_scheduler#power"] == 3


def test_a_configuration_runs_in_this_process_without_monais_summary(phantoms, tmp_path, capsys, recwarn):
    values = {"dataset_dir": str(phantoms["chase_vessel_segmentation"]), "output_dir": str(tmp_path), "zoom": "1.0"}
    values |= {"num_labeled": 2, "patch_size": "[32, 32]", "max_epochs": "1", "epoch_length": "2", "device": "cpu"}
    root, level = logging.getLogger(), logging.getLogger("monai.bundle.workflows").level
    before = root.handlers, root.level
    run_config([CONFIGS / "train.yaml"], {**values, "lr_scheduler#power": "0.8", "train#trainer#decollate": "false"})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("2 labeled, ") and lines[1].startswith("epoch 1/1, ") and len(lines) == 4
    assert not [w for w in recwarn if "parsing config_file" in str(w.message)]
    assert (root.handlers, root.level) == before and logging.getLogger("monai.bundle.workflows").level == level
    # what was given as text is of its type, and stands in the training's configuration
    assert torch.load(tmp_path / "states" / "last.pt", weights_only=True)["lr_scheduler"]["power"] == 0.8
    written = yaml.safe_load((tmp_path / "configs" / "train.yaml").read_text())
    assert written["patch_size"] == [32, 32] and written["train#trainer#decollate"] is False
    with pytest.raises(ValueError, match="no `zoon` in .*train.yaml: did you mean `--zoom`"):
        run_config([CONFIGS / "train.yaml"], {**values, "zoon": "1.0"})
