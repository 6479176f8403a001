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

"""What a package index shows and gets."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
if not (ROOT / "setup.cfg").is_file():
    pytest.skip("the package is installed, without its sources", allow_module_level=True)


@pytest.fixture(scope="module")
def config() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", "utf-8")
    return parser


def test_the_description_has_no_relative_links(config):
    text = (ROOT / config["metadata"]["long_description"].removeprefix("file: ")).read_text("utf-8")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 2 and all(link.startswith("https://") for link in links)


def test_every_package_is_in_the_wheel(config):
    listed = set(config["options"]["packages"].split())
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "monai_sscm").rglob("__init__.py")}
    assert listed == {".".join(folder.parts) for folder in folders} | {"monai_sscm.bundles"}
    # and what is no module
    data = config["options.package_data"]
    for path in (ROOT / "monai_sscm").rglob("*"):
        if path.is_file() and path.suffix not in (".py", ".pyc"):
            package = ".".join(path.relative_to(ROOT).parent.parts)
            owners = [name for name in data if package == name or package.startswith(f"{name}.")]
            patterns = [
                (ROOT.joinpath(*name.split(".")), pattern)
                for name in owners
                for pattern in re.split(r"[,\s]+", data[name].strip())
            ]
            assert any(path in folder.glob(pattern) for folder, pattern in patterns), path
