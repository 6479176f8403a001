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


"""Every mode, depth and format that the readers take, as image and as mask, beside what is stored in the file."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.helpers.reader_matrix import KINDS, Kind, outcome


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_stored_values_or_a_sentence(tmp_path, kind: Kind):
    path = tmp_path / f"a.{kind.suffix}"
    for mask, expected in zip((False, True), kind.write(path)):
        found = outcome(kind, path, mask)
        if isinstance(expected, str):
            assert isinstance(found, str) and re.search(expected, found) and "a." in found, found
        else:
            assert not isinstance(found, str), found
            found, stored = np.squeeze(found), np.squeeze(np.asarray(expected, float))
            assert found.shape == stored.shape
            assert np.abs(found - stored).max() <= kind.tolerance
