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

"""The README and the pages of the documentation: what they tell people to type works, and they can be read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from monai_sscm.cli.main import _parser
from monai_sscm.options import OPTIONS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "benchmarks" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [path for path in PAGES if "_build" not in path.parts]
#: where every sentence is short
FIRST_PAGES = [README, *sorted((ROOT / "docs" / "start").glob("*.md"))]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)


def commands(path: Path) -> list[list[str]]:
    """The words of each call of our program in a page."""
    lines = "\n".join(blocks(path, "bash")).replace("\\\n", " ").splitlines()
    calls = [re.search(r"(?:monai-sscm|-m monai_sscm) (.*)", line) for line in lines if not line.startswith("#")]
    return [shlex.split(call[1].removesuffix("&&"), comments=True) for call in calls if call]


def prose(path: Path) -> str:
    """What is read as text: no code, tables, directives or addresses."""
    text = re.sub(r"^(`{3,})(.*?)^\1`*$", "\n", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^(\||<!--|!\[).*$|^:::.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return re.sub(r"^(#.*|\$\$)$", "\n", text, flags=re.MULTILINE)


def sentences(path: Path) -> list[str]:
    parts = re.split(r"\n\s*\n|^\s*(?:-|\d+\.) ", prose(path), flags=re.MULTILINE)
    return [s for part in parts for s in re.split(r"(?<=[.!?:])\s+", part.strip()) if s]


PYTHON = [path for path in PAGES if blocks(path, "python")]
BASH = [path for path in PAGES if commands(path)]


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_python_blocks_run(path):
    scope: dict = {}
    for block in blocks(path, "python"):
        exec(compile(block, str(path), "exec"), scope)
    if path == README:
        assert scope["batch"]["mixed_image"].shape == (4, 1, 64, 64)


@pytest.mark.parametrize("path", BASH, ids=name)
def test_commands_are_understood(path):
    for words in commands(path):
        if words == ["--help"]:
            continue
        values = vars(_parser().parse_args(words))
        assert values["func"], words
        for option, text in values.get("options", {}).items():
            OPTIONS[option](option, text)


def test_pages_name_files_that_exist():
    for path in PAGES:
        for target in re.findall(
            r"\]\(([^)#\s]+)[^)]*\)", re.sub(r"^```.*?^```", "", path.read_text(), flags=re.S | re.M)
        ):
            if not re.match(r"\w+:", target):
                assert (path.parent / target).exists(), f"{name(path)} links to {target}"
    for file in re.findall(
        r"`((?:benchmarks|tutorials|tests|bundles)/[\w./]+\.\w+)`", "".join(p.read_text() for p in PAGES)
    ):
        assert (ROOT / file).is_file() or file in _GONE, file


#: named with the commit that has them
_GONE = {"benchmarks/validation.py", "benchmarks/chase_validation.py"}


def test_the_readme_is_short_and_has_what_is_read_by_machines():
    text = README.read_text()
    assert len(text.splitlines()) <= 150 and len(text.split()) <= 900
    for block in ("run", "test"):
        assert re.search(rf"<!-- {block} command -->\n```bash\n.*?\n```\n", text, re.DOTALL)


@pytest.mark.parametrize("path", FIRST_PAGES, ids=name)
def test_first_pages_have_short_sentences(path):
    found = sentences(path)
    assert found
    longest = max(found, key=lambda sentence: len(sentence.split()))
    assert len(longest.split()) < 30, longest


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_no_line_of_prose_is_long(path):
    assert not [line for line in prose(path).splitlines() if len(line) > 120]
