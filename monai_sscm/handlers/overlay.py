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

"""Images under their masks, and a handler that shows them in TensorBoard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from ignite.engine import Engine, Events

from monai_sscm.io.writing import class_colors
from monai_sscm.transforms import IGNORED

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["OverlayHandler", "overlay", "shown_images", "upright"]


def overlay(image: torch.Tensor, *masks: torch.Tensor) -> torch.Tensor:
    """
    Draw an image, and the image under each mask in the colors of mask files, side by side.

    Args:
        image: ``(C, H, W)``. Three channels are shown in color, as they are if no value is negative; of others the
            first is, from its lowest to its highest value. Of a volume ``(C, H, W, D)`` the slice with most of the
            first mask is shown; it needs a mask.
        masks: class indices, each ``(1, H, W)`` or ``(1, H, W, D)``; ignored pixels are drawn as background.

    Returns:
        picture ``(3, H, W * (1 + number of masks))``, values in [0, 1].

    Example:
        >>> import torch
        >>> from monai_sscm.handlers import overlay
        >>> image, label = torch.rand(1, 20, 30), torch.randint(0, 3, (1, 20, 30))
        >>> overlay(image, label, label).shape
        torch.Size([3, 20, 90])
    """
    image, *layers = (torch.as_tensor(x).detach().cpu().float() for x in (image, *masks))
    layers = [torch.where(x == IGNORED, 0, x) for x in layers]
    if image.ndim == 4:
        index = int((layers[0] > 0).sum(dim=(0, 1, 2)).argmax())
        image, *layers = (x[..., index] for x in (image, *layers))
    image = image if image.shape[0] == 3 else image[:1]
    low, high = float(image.amin()), float(image.amax())
    if image.shape[0] == 3 and low >= 0:  # a picture in its own colors, of whatever depth
        low, high = 0.0, next(top for top in (1.0, 255.0, 65535.0, high) if high <= top)
    image = (image - low) / max(high - low, 1e-6)
    highest = int(max([1.0, *(float(x.max()) for x in layers)]))
    # background is as it was; the others have the colors of mask files
    colors = torch.as_tensor(class_colors(highest + 1), dtype=torch.float32)
    pictures = [image.expand(3, -1, -1)]
    for layer in layers:
        classes = layer[0].long()
        painted = colors[(classes - 1).clamp_min(0)].movedim(-1, 0)
        pictures.append(torch.where(classes > 0, 0.4 * image + 0.6 * painted, image))
    return torch.cat(pictures, dim=2).clamp(0, 1)


def upright(image: torch.Tensor, *masks: torch.Tensor) -> list[torch.Tensor]:
    """
    Turn volumes whose axes go to the left, to the back and to the head so that the front is on top in a picture.

    Args:
        image: ``(C, X, Y, Z)`` with the metadata of :py:class:`monai_sscm.io.VolumeReader`; all else stays as it is.
        masks: of the image's size.
    """
    is_volume = "geometry" in getattr(image, "meta", {})
    return [torch.as_tensor(x).transpose(1, 2) if is_volume else x for x in (image, *masks)]


def shown_images(engine: Any) -> list[torch.Tensor | None]:
    """
    What overlays show of each image of a batch, such as the image in its own colors: ``shown`` of the batch.

    Args:
        engine: an evaluator in an iteration.

    Returns:
        for every item of the engine's output the picture, or None: then ``image`` of the output is shown.
    """
    batch, output = engine.state.batch, engine.state.output
    if isinstance(batch, list):
        return [item.get("shown") for item in batch]
    shown = batch.get("shown") if isinstance(batch, dict) else None
    return [None] * max(1, len(output)) if shown is None else list(shown)


class OverlayHandler:
    """
    Handler of an evaluator: writes :py:func:`overlay` of the first images into TensorBoard; an image is drawn as
    ``shown`` of the batch, where there is one.

    Args:
        summary_writer: TensorBoard's writer.
        num_images: number of images of an epoch that are drawn.
        tag: name of the pictures.
    """

    def __init__(self, summary_writer: SummaryWriter, num_images: int = 2, tag: str = "overlay") -> None:
        self.summary_writer = summary_writer
        self.num_images = num_images
        self.tag = tag

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: an evaluator whose output has ``image``, ``label`` and ``pred``, logits or class indices, on one
                grid.
        """
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        """
        Args:
            engine: the evaluator.
        """
        output = engine.state.output
        items = output if isinstance(output, list) else [{k: output[k][0] for k in ("image", "label", "pred")}]
        number = engine.state.iteration - 1
        if number < self.num_images:
            item = items[0]
            pred = torch.as_tensor(item["pred"])
            pred = pred if len(pred) == 1 else pred.argmax(0, keepdim=True)
            image = shown_images(engine)[0]
            picture = overlay(*upright(item["image"] if image is None else image, item["label"], pred))
            self.summary_writer.add_image(f"{self.tag}_{number}", picture, engine.state.epoch)
