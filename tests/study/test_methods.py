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

from monai_sscm.study import METHODS, Method, bundle_methods, read_methods


def test_methods_are_read_from_a_file(tmp_path):
    path = tmp_path / "methods.yaml"
    path.write_text("half: {title: SupMix on a half, values: {method: supmix, paste_prob: 0.5}}\nplain:\n")
    found = read_methods(path)
    assert found["half"].values == {"method": "supmix", "paste_prob": 0.5}
    assert found["plain"].title == "plain" and found["plain"].values == {"method": "plain"}
    path.write_text("half: {config: supmix}")
    with pytest.raises(ValueError, match=r"half in .* has \['config'\]: a method has title and values"):
        read_methods(path)
    path.write_text("half: {values: [1]}")
    with pytest.raises(ValueError, match="`values` must be a mapping"):
        read_methods(path)
    path.write_text("half: {values: }")
    assert read_methods(path)["half"] == Method("half", {"method": "half"})
    path.write_text("half: [")
    with pytest.raises(ValueError, match="methods.yaml' cannot be read as YAML .*: check the file"):
        read_methods(path)
    with pytest.raises(ValueError, match="none.yaml' cannot be read as YAML .*: check the file"):
        read_methods(tmp_path / "none.yaml")
    path.write_text("- half")
    with pytest.raises(ValueError, match="must have a mapping"):
        read_methods(path)


def test_every_method_is_in_each_bundle():
    for config in (Path(__file__).parents[2] / "bundles").glob("*/configs/train.yaml"):
        in_bundle = yaml.safe_load(config.read_text())["methods"]
        assert all(method.values["method"] in in_bundle for method in METHODS.values())


def test_a_method_that_a_copied_bundle_adds_is_found(tmp_path):
    config = tmp_path / "train.yaml"
    config.write_text("methods: {supmix: {title: SupMix}, mine: {title: My method, views: []}}")
    assert bundle_methods(config) == {"mine": Method("My method", {"method": "mine"})}
