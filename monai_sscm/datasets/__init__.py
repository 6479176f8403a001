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

from .chase_db1 import CHASE_DB1_SPLIT, CHASE_DB1_URL, chase_db1_datalist, prepare_chase_db1
from .covid19_ct import COVID19_CT_SPLIT, covid19_ct_datalist
from .hippocampus import HIPPOCAMPUS_URL, hippocampus_part, prepare_hippocampus
from .phantoms import chest_phantom, vessel_phantom, write_chest_phantoms, write_vessel_phantoms

__all__ = [
    "CHASE_DB1_SPLIT",
    "CHASE_DB1_URL",
    "COVID19_CT_SPLIT",
    "HIPPOCAMPUS_URL",
    "chase_db1_datalist",
    "chest_phantom",
    "covid19_ct_datalist",
    "hippocampus_part",
    "prepare_chase_db1",
    "prepare_hippocampus",
    "vessel_phantom",
    "write_chest_phantoms",
    "write_vessel_phantoms",
]
