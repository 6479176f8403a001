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

from pathlib import Path

import pytest
import yaml

from monai_sscm.bundle import bundle_names, find_bundle
from monai_sscm.methods import METHODS
from monai_sscm.templates import BUNDLES, merge_configs, render_configs, set_values


@pytest.mark.parametrize("bundle", BUNDLES)
def test_the_shipped_bundles_are_as_their_templates_give_them(bundle):
    configs = Path(find_bundle(bundle)) / "configs"
    rendered = render_configs(bundle)
    assert {path.name for path in configs.iterdir()} == {*rendered, "metadata.json"}
    for name, text in rendered.items():
        assert (configs / name).read_text("utf-8") == text, f"python -m monai_sscm.bundle writes {name} anew"


def test_every_bundle_has_templates():
    assert sorted(BUNDLES) == bundle_names()


@pytest.mark.parametrize("bundle", BUNDLES)
def test_a_rendered_training_shows_every_method_and_no_index(bundle):
    text = render_configs(bundle)["train.yaml"]
    config = yaml.safe_load(text)
    assert list(config["methods"]) == list(METHODS)
    for name, method in METHODS.items():
        assert config["methods"][name] == method.config
    assert "handlers#" not in text and "str2bool" not in text


def test_entries_are_replaced_added_and_keep_their_place():
    base = "# a title\n# more\nx: 1  # one\n\n# --- a heading ---\n# about y\ny:\n- 1\n# within\n- 2\nz: 3\n"
    over = "# another title\n\n# after x\nv: 0\nnew: 5\ny: []\nlast: 6\n"
    expected = "# another title\n# more\nx: 1  # one\nv: 0\nnew: 5\n\n# --- a heading ---\ny: []\nlast: 6\nz: 3\n"
    assert merge_configs(base, over) == expected
    assert merge_configs(base, "") == base


@pytest.mark.parametrize(
    ("line", "value", "expected"),
    [
        ("a: 1", "2", "a: 2"),
        ("a: [1, 2]  # a list", "[3]", "a: [3]  # a list"),
        ("a: \"$x['#']\"  # an expression", ".", "a: .  # an expression"),
        ("a: 'text # no comment'", "null", "a: null"),
        ("a: $os.path.join('b', 'c')", ".", "a: ."),
        ("b:\n  a: 1", "2", "b:\n  a: 1\na: 2"),
        ("a:\n- 1\n- 2\nb: 3", "[3]", "a: [3]\nb: 3"),
        ("a: >-\n  $x +\n  y\nb: 3", "2", "a: 2\nb: 3"),
        ("a: x#y  # a comment", "2", "a: 2"),
    ],
)
def test_values_are_set_where_they_stand(line, value, expected):
    assert set_values(line + "\n", {"a": value}) == expected + "\n"


def test_a_reason_takes_the_place_of_the_comment():
    text = "a: 1  # one\nb: [1]  # list\nc:\n- 1\nd: 4\n"
    comments = {"a": "as you chose", "b": "long " * 30, "c": "a list"}
    changed = set_values(text, {"a": "2", "b": "[2, 3]", "c": "[]", "d": "5"}, comments)
    assert "a: 2                         # as you chose\n# long long" in changed
    assert "long\nb: [2, 3]\nc: []                        # a list\nd: 5\n" in changed
    assert max(map(len, changed.splitlines())) <= 120
    assert yaml.safe_load(changed) == {"a": 2, "b": [2, 3], "c": [], "d": 5}
