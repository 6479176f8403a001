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

"""Names that the loader, the trainer and the handlers share."""

from __future__ import annotations

from monai_sscm.engines import SemiSupervisedEvents, SemiSupervisedKeys
from monai_sscm.engines.keys import EVENT_COUNTERS


def test_every_event_has_a_counter_and_keys_are_text():
    assert set(EVENT_COUNTERS) == set(SemiSupervisedEvents)
    assert len(set(EVENT_COUNTERS.values())) == len(EVENT_COUNTERS)
    assert {SemiSupervisedKeys.PSEUDO_LABEL: 1}["pseudo_label"] == 1 and f"{SemiSupervisedKeys.IMAGE}" == "image"
