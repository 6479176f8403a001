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

from unittest.mock import Mock

import torch
from ignite.engine import Engine

from monai_sscm.handlers import OverlayHandler, overlay
from monai_sscm.io.writing import class_colors


def test_overlay():
    image, label = torch.rand(3, 6, 8), torch.zeros(1, 6, 8)
    label[0, 2] = 1
    picture = overlay(image, label, torch.zeros(1, 6, 8))
    assert picture.shape == (3, 6, 24) and 0 <= picture.min() and picture.max() <= 1
    assert not torch.allclose(picture[:, 2, 8:16], picture[:, 2, :8])  # the label is drawn
    torch.testing.assert_close(picture[:, :, 16:], picture[:, :, :8])  # nothing was predicted
    volume = torch.zeros(1, 4, 5, 6)
    volume[..., 3] = 1
    assert overlay(torch.rand(1, 4, 5, 6), volume, volume).shape == (3, 4, 15)
    assert overlay(image).shape == (3, 6, 8)


def test_the_colors_are_those_of_mask_files():
    image, label = torch.rand(3, 6, 8), torch.zeros(1, 6, 8)
    label[0, 1, 3], label[0, 4, 2] = 1, 2
    first, second = torch.as_tensor(class_colors(3), dtype=torch.float32)
    picture = overlay(image, label)[:, :, 8:]
    torch.testing.assert_close(picture[:, 1, 3], 0.4 * image[:, 1, 3] + 0.6 * first)
    torch.testing.assert_close(picture[:, 4, 2], 0.4 * image[:, 4, 2] + 0.6 * second)
    for scaled in (image, 255 * image, 65535 * image):
        torch.testing.assert_close(overlay(scaled, label)[:, :, :8], image)  # its own colors, of whatever depth
    alone = overlay(image, label * (label == 1))[:, 1, 3 + 8]
    torch.testing.assert_close(alone, picture[:, 1, 3])  # whatever other classes there are


def test_ignored_pixels_are_drawn_as_background():
    image, label = torch.rand(1, 6, 8, 3), torch.zeros(1, 6, 8, 3)
    label[0, 2, :, 1] = 2
    ignored = label.clone()
    ignored[..., 2], ignored[0, 4, :, 1] = 255, 255
    assert torch.equal(overlay(image, ignored), overlay(image, label))  # of the same slice, and as bright


def test_overlay_handler():
    output = {"image": torch.rand(1, 1, 4, 4), "label": torch.zeros(1, 1, 4, 4), "pred": torch.rand(1, 2, 4, 4)}
    engine = Engine(lambda engine, batch: output)
    writer = Mock()
    OverlayHandler(writer, num_images=2).attach(engine)
    engine.run([0, 1, 2])
    calls = [call.args for call in writer.add_image.call_args_list]
    pictures = [(tag, tuple(picture.shape), step) for tag, picture, step in calls]
    assert pictures == [("overlay_0", (3, 4, 12), 1), ("overlay_1", (3, 4, 12), 1)]


def test_overlay_of_class_indices_and_of_logits():
    """As a volume is predicted, whose logits would not fit."""
    index = torch.randint(0, 3, (1, 1, 4, 4, 2), dtype=torch.uint8)
    logits = torch.nn.functional.one_hot(index[:, 0].long(), 3).movedim(-1, 1).float()
    for pred in (index, logits):
        writer = Mock()
        engine = Engine(lambda engine, batch: {"image": torch.zeros(1, 1, 4, 4, 2), "label": index, "pred": batch})
        OverlayHandler(writer, num_images=1).attach(engine)
        engine.run([pred])
        image, truth, prediction = writer.add_image.call_args.args[1].split(4, dim=2)
        assert torch.equal(truth, prediction) and not torch.equal(image, prediction)


def test_what_is_shown_is_drawn_in_place_of_the_image():
    shown = torch.zeros(1, 3, 4, 4)
    shown[:, 0, :2] = 255  # red above
    output = {"image": torch.rand(1, 3, 4, 4), "label": torch.zeros(1, 1, 4, 4), "pred": torch.zeros(1, 1, 4, 4)}
    for decollated in (False, True):
        engine = Engine(lambda engine, batch, d=decollated: [{k: v[0] for k, v in output.items()}] if d else output)
        writer = Mock()
        OverlayHandler(writer, num_images=1).attach(engine)
        engine.run([[{"shown": shown[0]}] if decollated else {"shown": shown}])
        assert torch.equal(writer.add_image.call_args.args[1][:, :, :4], shown[0] / 255)
