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

import pytest

from monai_sscm.bundle import find_bundle
from monai_sscm.command_line import (
    as_command_line,
    check_command_line,
    config_files,
    configured_values,
    other_overrides,
)

TRAIN, EVALUATE = (f"{find_bundle('chase_vessel_segmentation')}/configs/{name}.yaml" for name in ("train", "evaluate"))


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        (TRAIN, ["--num_labelled", "3"], "no `num_labelled` in .*train.yaml: did you mean `--num_labeled`"),
        (TRAIN, ["--seed", "1", "--zoon=1.0"], "no `zoon` in .* did you mean `--zoom`"),
        (TRAIN, ["--part", "test"], "no `part` in"),
        (
            TRAIN,
            ["--data_list", "x"],
            r"no `data_list` in .*train.yaml: (did you mean `--dataset_dir`|its values stand)",
        ),
        (TRAIN, ["--datalist", "data.json"], "`datalist` is a part of the configuration and no option: change it in"),
        (TRAIN, ["--optimizer", "adam"], "`optimizer` is a part of the configuration and no option"),
        (TRAIN, ["--trainer", "x"], "no `trainer` in .*train.yaml: its values stand at the top"),
        (TRAIN, ["-num_labeld", "3"], "no `num_labeld` in .*: did you mean `--num_labeled`"),
        (TRAIN, ["--num_labeled", "None"], "MONAI leaves out `--num_labeled None`: give `--num_labeled null`"),
        (TRAIN, ["--qqqqqq", "1"], "no `qqqqqq` in .* at the top of the file"),
        (f"['{TRAIN}','{EVALUATE}']", ["--part", "test", "--wait", "1"], "no `wait` in"),
    ],
)
def test_an_option_without_effect_is_refused(files, options, message):
    argv = ["/lib/monai/bundle/__main__.py", "run", "--config_file", files, "--dataset_dir", "data", *options]
    with pytest.raises(ValueError, match=message):
        check_command_line(argv)
    check_command_line(["/bin/pytest", *argv[1:]])


def test_options_with_effect_pass():
    argv = ["/lib/monai/bundle/__main__.py", "run", "train", "--config_file", f"['{TRAIN}','{EVALUATE}']"]
    argv += [
        "--logging_file",
        "no.conf",
        "--part=test",
        "--num-labeled",
        "3",
        "--train#trainer#amp",
        "true",
        "--methods#supmix#title",
        "x",
    ]
    argv += ["--validate::dataloader::batch_size", "1", "--rate", "0.1", "--learning_rate", "$@rate * 2"]
    check_command_line(argv)
    check_command_line([argv[0], "run", f"--config_file={TRAIN}"])
    check_command_line([argv[0], "run", "--args_file", "args.json", "--seed", "1"])


def test_files_in_an_order_that_undoes_one_are_refused():
    argv = ["/lib/monai/bundle/__main__.py", "run", "--config_file", f"['{EVALUATE}','{TRAIN}']", "--part", "test"]
    with pytest.raises(ValueError, match=r"goes on top of those before it: give them as \['.*train.yaml', '.*evaluate"):
        check_command_line(argv)


def test_files_and_overrides_as_they_were_typed():
    argv = ["/lib/monai/bundle/__main__.py", "run", "--config_file", f"['{TRAIN}','{EVALUATE}']", "--seed", "-1"]
    argv += ["--lr_scheduler#power=3", "--logging_file", "x.conf", "--loss", "@other"]
    assert config_files(argv) == [TRAIN, EVALUATE] and config_files(["/bin/pytest", *argv[1:]]) == []
    assert config_files([*argv[:2], "--config_file", "a.yaml,b.yaml"]) == ["a.yaml", "b.yaml"]
    assert other_overrides({"seed": 0}, argv) == {"lr_scheduler#power": 3, "loss": "@other"}


def test_a_command_that_runs_a_configuration_stands_for_monais():
    assert config_files() == []  # of the tests' own command
    with as_command_line([TRAIN, EVALUATE], {"seed": 0, "lr_scheduler#power": "3", "part": "test"}):
        assert config_files() == [TRAIN, EVALUATE]
        assert other_overrides({"seed": 0, "part": "test"}) == {"lr_scheduler#power": 3}
        check_command_line()
        with pytest.raises(ValueError, match="no `sed` in"), as_command_line([TRAIN], {"sed": 1}):
            check_command_line()
        assert config_files() == [TRAIN, EVALUATE]
    assert config_files() == []


def test_values_of_the_files_without_overrides(tmp_path):
    (tmp_path / "train.yaml").write_text("a: {b: 1, c: [x, y]}\nd: 2\n")
    (tmp_path / "more.yaml").write_text("a#b: 3\n")
    argv = ["/lib/monai/bundle/__main__.py", "run", "--a#b", "7", "--config_file"]
    both = f"{tmp_path}/train.yaml,{tmp_path}/more.yaml"
    assert configured_values(["a#b", "a::c::1", "d", "e"], [*argv, f"{tmp_path}/train.yaml"]) == {
        "a#b": 1,
        "a::c::1": "y",
        "d": 2,
        "e": None,
    }
    assert configured_values({"a#b"}, [*argv, both]) == {"a#b": 3}
    assert configured_values([], [*argv, both]) == configured_values(["d"], ["script.py"]) == {}
