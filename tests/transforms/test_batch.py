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

"""The base of transforms of batches; its subclasses' tests do the rest."""

from __future__ import annotations

import pytest
import torch

from monai_sscm.transforms.batch import RandBatchTransform, RandBatchTransformd


class RandAdd(RandBatchTransform):
    """Adds what was drawn."""

    def __init__(self, spatial_dims: int = 2) -> None:
        super().__init__(spatial_dims, prob=1.0, num_draws=1)

    def _transform(self, x):
        return x + torch.as_tensor(self._draws).float()[..., None, None]


def test_draws_follow_the_samples():
    x = torch.zeros(3, 1, 2, 2)
    batch, one = (RandAdd().set_random_state(0) for _ in range(2))
    out = batch(x)
    assert len(out.unique()) == 3 and torch.equal(out, torch.stack([one(sample) for sample in x]))
    assert torch.equal(batch(x, randomize=False), out) and not torch.equal(batch(x), out)
    assert torch.equal(RandAdd().set_random_state(0)(x.long()), out)


def test_keys_share_a_draw():
    data = {"a": torch.zeros(2, 1, 2, 2), "b": torch.zeros(2, 1, 4, 4)}
    out = RandBatchTransformd(["a", "b", "c"], RandAdd(), allow_missing_keys=True).set_random_state(0)(data)
    assert torch.equal(out["a"], out["b"][..., :2, :2]) and "c" not in out
    with pytest.raises(ValueError, match="drawn for 2 samples, there are 3"):
        RandBatchTransformd(["a", "b"], RandAdd())({"a": data["a"], "b": torch.zeros(3, 1, 2, 2)})


def test_refused():
    with pytest.raises(ValueError, match="spatial_dims"):
        RandAdd(4)
    with pytest.raises(ValueError, match="prob"):
        RandBatchTransform(2, prob=2.0, num_draws=1)
    with pytest.raises(NotImplementedError, match="RandBatchTransform"):
        RandBatchTransform(2, prob=1.0, num_draws=1)(torch.zeros(1, 2, 2))
