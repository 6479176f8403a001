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

"""
The model zoo's own CI on the shipped bundles, as ``monai-sscm bundle NAME --to FOLDER --as zoo`` writes them: its
``ci/verify_bundle.py`` in full, and each bundle's unit test.

    python benchmarks/hosts/zoo.py --zoo model-zoo --schema schema.json --output benchmarks/results/hosts/zoo.txt

``--zoo`` is a git repository of Project-MONAI/model-zoo, ``--schema`` the file that ``configs/metadata.json`` names.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
import warnings
from importlib import import_module
from pathlib import Path

import monai
import torch

import monai_sscm
from monai_sscm.bundle import bundle_names
from monai_sscm.publishing import publish_bundle


def main() -> None:
    """Check every bundle, and write what the zoo's checks say."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--zoo", "--schema", "--output"):
        parser.add_argument(name, type=Path, required=True)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    schema, output = arguments.schema.resolve(), arguments.output.resolve()
    git = ["git", "-C", str(arguments.zoo)]
    log = [*git, "log", "-1", "--format=%h of %cs"]
    commit = subprocess.run(log, capture_output=True, text=True, check=True).stdout
    files = subprocess.run([*git, "archive", "HEAD", "ci", "models/model_info.json"], capture_output=True, check=True)
    lines = [f"model zoo {commit.strip()}, monai {monai.__version__}, torch {torch.__version__}"]
    lines[0] += f", monai_sscm {monai_sscm.__version__}"
    output.parent.mkdir(parents=True, exist_ok=True)

    def say(line: str) -> None:
        lines.append(line)
        output.write_text("\n".join(lines) + "\n", "utf-8")
        print(line, flush=True)

    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        with tarfile.open(fileobj=io.BytesIO(files.stdout)) as archive:
            archive.extractall(work, filter="data")
        sys.path[:0] = [f"{work}/ci"]
        verify = import_module("verify_bundle").verify
        names = sorted(bundle_names(), reverse=True)
        for name in names:
            publish_bundle(name, "part", "zoo")
            shutil.copytree("part", ".", dirs_exist_ok=True)
            shutil.rmtree("part")
            os.mkdir(f"models/{name}/eval")
            shutil.copyfile(schema, f"models/{name}/eval/schema.json")  # ci/prepare_schema.py downloads it there
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                verify(name, "models", "full")
            for line in said.getvalue().splitlines():
                if line.endswith((" verified correctly.", "successfully.")):
                    say(f"{name}: {line}")
        del sys.modules["utils"]  # the unit tests have one of their own
        sys.path[:0] = [f"{work}/ci/unit_tests"]
        for name in names:
            suite = unittest.defaultTestLoader.loadTestsFromName(f"test_{name}")
            with contextlib.redirect_stdout(io.StringIO()):
                result = unittest.TextTestRunner(stream=io.StringIO()).run(suite)
            for _, problem in [*result.failures, *result.errors]:
                print(problem)
            say(f"{name}: unit test, {result.testsRun} run, {len(result.failures) + len(result.errors)} failed")


if __name__ == "__main__":
    main()
