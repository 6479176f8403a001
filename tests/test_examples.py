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

"""The example of every docstring."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import monai_sscm

MODULES = sorted(m.name for m in pkgutil.walk_packages(monai_sscm.__path__, "monai_sscm.") if "__main__" not in m.name)


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


def test_what_users_import_has_an_example():
    # base classes, names, and what needs a whole data set to show
    exempt = {"PasteMix", "PasteMixd", "SemiSupervisedEvents", "SemiSupervisedKeys", "CHASE_DB1_SPLIT"}
    exempt |= {"chase_db1_datalist", "write_vessel_phantoms", "unwrap"}
    exempt |= {"CHASE_DB1_URL", "prepare_chase_db1"}
    exempt |= {"COVID19_CT_SPLIT", "covid19_ct_datalist", "write_chest_phantoms", "EXPORT_WINDOW", "LUNG_WINDOW"}
    for package in ("transforms", "networks", "losses", "engines", "data"):
        module = getattr(monai_sscm, package)
        missing = [name for name in module.__all__ if ">>>" not in (getattr(module, name).__doc__ or "")]
        assert set(missing) <= exempt
