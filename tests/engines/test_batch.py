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

"""Batches in one, and apart again."""

from __future__ import annotations

import pytest
import torch

from monai_sscm.engines.batch import concatenate, detach, num_samples, rows_of, take_rows


def test_what_is_put_together_comes_apart():
    images = [torch.rand(n, 1, 4, 4, requires_grad=True) for n in (2, 3, 1)]
    rows = rows_of(images)
    assert rows == [slice(0, 2), slice(2, 5), slice(5, 6)]
    whole = concatenate(images)
    for image, part in zip(images, rows):
        assert torch.equal(take_rows(whole, part), image)
        assert torch.equal(take_rows([whole, [whole]], part)[1][0], image)
    assert concatenate(images[:1]) is images[0]
    assert not detach(whole).requires_grad and not detach([whole, [whole]])[1][0].requires_grad
    assert concatenate([images[0], images[1].double()]).dtype == torch.float32


def test_sizes_must_be_one():
    with pytest.raises(ValueError, match="Crop all to the same size"):
        concatenate([torch.rand(1, 1, 4, 4), torch.rand(1, 1, 4, 5)])


@pytest.mark.parametrize(("value", "number"), [(torch.rand(3, 1), 3), (torch.tensor(1.0), 0), (["a", "b"], 2), (5, 0)])
def test_number_of_samples(value, number):
    assert num_samples(value) == number
