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

"""The discriminator: sizes, and what it says of one image."""

from __future__ import annotations

import pytest
import torch

from monai_sscm.networks import FeatureDiscriminator


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("size", [2, 5, 16])
def test_discriminator_takes_any_size(spatial_dims, size):
    discriminator = FeatureDiscriminator(spatial_dims, in_channels=6)
    x = torch.rand(3, 6, *(size,) * spatial_dims)
    logits = discriminator(x)
    assert logits.shape[:2] == (3, 1) and logits.ndim == spatial_dims + 2
    # what is said of an image does not depend on the others
    torch.testing.assert_close(discriminator(x[1:2]), logits[1:2])
    with pytest.raises(ValueError, match="set its `in_channels` .* to 4"):
        discriminator(x[:, :4])
