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
from monai_sscm.command_line import check_command_line, config_files, other_overrides

TRAIN, EVALUATE = (f"{find_bundle('chase_vessel_segmentation')}/configs/{name}.yaml" for name in ("train", "evaluate"))


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        (TRAIN, ["--num_labelled", "3"], "no `num_labelled` in .*train.yaml: did you mean `--num_labeled`"),
        (TRAIN, ["--seed", "1", "--zoon=1.0"], "no `zoon` in .* did you mean `--zoom`"),
        (TRAIN, ["--part", "test"], "no `part` in"),
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
