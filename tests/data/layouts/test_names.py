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

from monai_sscm.data.layouts.names import channel_names, class_names, ignored_value


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
    assert channel_names({"modality": {"1": "T2", "0": "T1"}}) == ["T1", "T2"]
    assert channel_names({"channel_names": {"0": "CT"}, "modality": {"0": "x"}}) == ["CT"]
    assert channel_names({}) is None and channel_names(None) is None and class_names(None) is None
    assert ignored_value({"labels": {"background": 0, "ignore": 3}}) == 3
    assert ignored_value({"labels": {"0": "background", "3": "ignore"}}) is None and ignored_value(None) is None
