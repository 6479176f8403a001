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

import subprocess
import sys

import pytest

import monai_sscm
from monai_sscm.cli.main import main

COMMANDS = [
    "train",
    "predict",
    "evaluate",
    "suggest",
    "export",
    "plan",
    "demo",
    "study",
    "prepare",
    "bundle",
    "phantoms",
]


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_everywhere(capsys, command):
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--help"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith(" ".join(["usage: monai-sscm", *command]))


@pytest.mark.parametrize("command", [["--help"], ["study", "--help"], ["--version"], []])
def test_help_imports_neither_torch_nor_monai(command):
    code = (
        "import sys\nfrom monai_sscm.cli.main import main\n"
        f"try:\n    main({command!r})\nexcept SystemExit:\n    pass\n"
        "print('imported:', sorted({'torch', 'monai', 'matplotlib', 'numpy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert result.stdout.splitlines()[-1] == "imported: []"


def test_the_package_imports_its_parts_when_they_are_used():
    code = (
        "import sys, monai_sscm\nassert 'torch' not in sys.modules\n"
        "assert set(monai_sscm.__all__) | {'__version__'} <= set(dir(monai_sscm))\n"
        "print(monai_sscm.losses.WeightedCELoss.__name__, 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert result.stdout.split() == ["WeightedCELoss", "True"]
    with pytest.raises(AttributeError, match="'monai_sscm' has no attribute 'nothing'"):
        _ = monai_sscm.nothing


def test_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0 and capsys.readouterr().out == f"monai-sscm {monai_sscm.__version__}\n"


def test_without_a_command_help_is_printed(capsys):
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    places = [printed.err.index(f"    {name} ") for name in COMMANDS]
    assert places == sorted(places)  # what a new user needs comes first


def test_ctrl_c_ends_with_its_status_and_no_traceback(monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("monai_sscm.datasets.prepare_chase_db1", interrupted)
    with pytest.raises(SystemExit) as stopped:
        main(["prepare", "chase_db1"])
    assert stopped.value.code == 130 and stopped.value.__suppress_context__


@pytest.mark.parametrize("program", [["-m", "monai_sscm"], ["{scripts}/monai-sscm"]])
def test_a_foreseen_error_is_one_line(tmp_path, program):
    """By the module, and by the script that an installation writes."""
    script = tmp_path / "monai-sscm"
    script.write_text("from monai_sscm.cli.main import main\nmain()\n")
    command = [sys.executable, *(word.format(scripts=tmp_path) for word in program)]
    command += ["bundle", "chase_vessel_segmentation", "--to", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == f"Error: {str(tmp_path)!r} exists: choose a folder that does not.\n"
