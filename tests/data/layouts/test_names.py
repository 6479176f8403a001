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

from monai_sscm.data.layouts.names import class_names, described


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ({"0": "background", "2": "b", "1": "a"}, ["background", "a", "b"]),
        ({"background": 0, "a": 1, "ignore": 2}, ["background", "a"]),
        (["background", "a"], ["background", "a"]),
        ({"background": 0, "whole": [1, 2], "core": 2}, None),  # regions, which overlap
        ({"0": "background", "4": "a"}, None),
        ({"0": "a", "1": "a"}, None),
        ({"0": "background"}, None),
        (None, None),
        ("background", None),
    ],
)
def test_names_of_classes(labels, names):
    assert class_names({"labels": labels}) == names


def test_names_of_channels_and_the_value_to_ignore():
    assert described({"modality": {"1": "T2", "0": "T1"}})["channel_names"] == ["T1", "T2"]
    assert described({"channel_names": {"0": "CT"}, "modality": {"0": "x"}})["channel_names"] == ["CT"]
    assert set(described({}).values()) == set(described(None).values()) == {None}
    assert described({"labels": {"background": 0, "ignore": 3}})["ignore_index"] == 3
    assert described({"labels": {"0": "background", "3": "ignore"}})["ignore_index"] is None
