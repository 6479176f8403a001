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

import argparse

import pytest

from monai_sscm.cli.arguments import name_value_pair, positive_int


def test_what_the_user_typed_is_read():
    assert positive_int("1") == 1
    assert name_value_pair("rate=a=b") == ("rate", "a=b") and name_value_pair("rate=") == ("rate", "")


def test_what_is_wrong_is_named():
    with pytest.raises(argparse.ArgumentTypeError, match="must be 1 or more, got 0"):
        positive_int("0")
    with pytest.raises(argparse.ArgumentTypeError, match="must be NAME=VALUE, got 'rate'"):
        name_value_pair("rate")
