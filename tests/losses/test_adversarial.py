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

"""The pair of losses between student and discriminator."""

from __future__ import annotations

import pytest
import torch

from monai_sscm.losses import adversarial_loss, discriminator_loss


def test_adversarial_pair():
    labeled, unlabeled = torch.randn(4, 1, 3, 3), torch.randn(2, 1, 3, 3)
    fool = -torch.sigmoid(unlabeled.double()).log().mean()
    torch.testing.assert_close(adversarial_loss(unlabeled).double(), fool, rtol=1e-5, atol=1e-6)
    tell = 0.5 * (-torch.sigmoid(labeled.double()).log().mean() - (1 - torch.sigmoid(unlabeled.double())).log().mean())
    torch.testing.assert_close(discriminator_loss(labeled, unlabeled).double(), tell, rtol=1e-5, atol=1e-6)
    # the pair pulls in opposite directions, and extreme logits stay finite, in half precision too
    extreme = torch.full((1, 1, 2, 2), 1e4, dtype=torch.float16)
    assert float(adversarial_loss(extreme)) == 0 and float(adversarial_loss(-extreme)) == pytest.approx(1e4)
