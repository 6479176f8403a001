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
import torch
from monai.inferers import SimpleInferer
from monai.transforms import Zoom

from monai_sscm.inferers import ZoomInferer


class Seen(torch.nn.Module):
    """A network whose logits are its input, and which remembers what it saw."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.x = x
        return x


@pytest.mark.parametrize("spatial", [(45, 61), (20, 33, 27)], ids=["2d", "3d"])
def test_the_network_sees_what_it_was_trained_on(spatial):
    images, network = torch.rand(2, 3, *spatial), Seen()
    logits = ZoomInferer(0.5, SimpleInferer())(images, network)
    zoom = Zoom(0.5, mode="area", keep_size=False)
    torch.testing.assert_close(network.x, torch.stack([zoom(image).as_tensor() for image in images]))
    assert logits.shape == images.shape


def test_logits_are_interpolated_back():
    """A ramp along the columns survives but at its ends, which are repeated."""
    ramp = torch.arange(32.0).expand(1, 1, 16, 32)
    logits = ZoomInferer(0.5, SimpleInferer())(ramp, Seen())
    torch.testing.assert_close(logits[..., 1:-1], ramp[..., 1:-1])


def test_a_zoom_of_1_changes_nothing():
    images, network = torch.rand(1, 1, 7, 9), Seen()
    assert torch.equal(ZoomInferer(1, SimpleInferer())(images, network), images)
    assert network.x is images


@pytest.mark.parametrize(
    ("zoom", "native", "seen"),
    [
        (1.0, (96, 100), (96, 100)),  # of the size of training
        (1.0, (192, 200), (96, 100)),
        (1.0, (61, 48), (122, 96)),
        (0.5, (192, 200), (48, 50)),
        (1.0, (1, 3), (96, 288)),
        (0.01, (192, 400), (1, 2)),  # never nothing
        (1.0, (10, 600), (6, 384)),  # a strip is not enlarged as far as its shortest side says
    ],
)
def test_photographs_of_other_cameras_are_seen_as_large(zoom, native, seen):
    images, network = torch.rand(1, 3, *native), Seen()
    logits = ZoomInferer(zoom, SimpleInferer(), shortest_side=96)(images, network)
    assert network.x.shape[2:] == seen and logits.shape == images.shape


def test_enlarged_smoothly_and_reduced_by_means():
    """An edge has values between when it is enlarged; halved, pixels are the means of four."""
    edge, network = torch.tensor([0.0, 0, 1, 1]).expand(1, 1, 4, 4), Seen()
    ZoomInferer(1, SimpleInferer(), shortest_side=8)(edge, network)
    assert network.x[0, 0, 0].tolist() == [0, 0, 0, 0.25, 0.75, 1, 1, 1]
    images = torch.rand(1, 1, 4, 6)
    ZoomInferer(1, SimpleInferer(), shortest_side=2)(images, network)
    torch.testing.assert_close(network.x, images.reshape(1, 1, 2, 2, 3, 2).mean((3, 5)))


@pytest.mark.parametrize(("zoom", "side", "name"), [(0, None, "zoom"), (-1, 4, "zoom"), (1, 0, "shortest_side")])
def test_sizes_of_nothing_are_refused(zoom, side, name):
    with pytest.raises(ValueError, match=f"`{name}` must be above 0"):
        ZoomInferer(zoom, SimpleInferer(), shortest_side=side)
