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

"""Images as they come from files, to what a network takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import Transform
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_tensor
from scipy import ndimage
from torch.nn.functional import interpolate

from ..label.array import file_of

__all__ = [
    "BlackenBorder",
    "EnsureImageChannels",
    "KeepFieldOfView",
    "ZoomToSide",
    "field_of_view",
    "resize_image",
    "seen_size",
]

# longest side of what is seen, in shortest sides
_LONGEST = 4
#: interpolation that is smooth, by the number of dimensions
SMOOTH = {1: "linear", 2: "bilinear", 3: "trilinear"}


def _cure(dimensions: int, wanted: int) -> str:
    if dimensions < wanted:
        return "give it volumes, or plan a training on pictures with `monai-sscm plan`"
    return "give it single slices, or plan a training on volumes with `monai-sscm plan`"


class EnsureImageChannels(Transform):
    """
    Give an image the channels and dimensions that the network takes, and check it.

    A grey picture is repeated in every channel, and dimensions of length 1 beyond ``spatial_dims`` are removed, as of a
    single slice saved as a volume. Everything else is refused with the file's name, and so are NaN and infinite
    intensities.

    Args:
        num_channels: channels that the network takes.
        spatial_dims: 2 or 3.
        repeat_gray: whether a single channel is repeated. False: it is refused where more are wanted, as of volumes,
            whose channels are of different kinds.
        dtype: data type of the result. None: as the image has it.

    Returns:
        image ``(num_channels, *spatial)`` of the same container type.

    Raises:
        ValueError: when the channels or dimensions do not fit, or an intensity is NaN or infinite.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import EnsureImageChannels
        >>> EnsureImageChannels(num_channels=3, spatial_dims=2)(torch.rand(1, 20, 30)).shape
        torch.Size([3, 20, 30])
    """

    backend = [TransformBackends.TORCH]

    def __init__(
        self,
        num_channels: int,
        spatial_dims: int,
        repeat_gray: bool = True,
        dtype: torch.dtype | None = torch.float32,
    ) -> None:
        self.num_channels = num_channels
        self.spatial_dims = spatial_dims
        self.repeat_gray = repeat_gray
        self.dtype = dtype

    def __call__(self, image: NdarrayOrTensor) -> NdarrayOrTensor:
        """
        Args:
            image: channel-first image.
        """
        name = f"The image {file_of(image)!r}"
        x = convert_to_tensor(image, dtype=self.dtype, track_meta=False)
        while x.ndim > self.spatial_dims + 1 and x.shape[-1] == 1:
            x = x[..., 0]
        if x.ndim != self.spatial_dims + 1:
            raise ValueError(
                f"{name} has the size {tuple(x.shape[1:])}, but the network takes images of {self.spatial_dims} "
                f"dimensions: {_cure(x.ndim - 1, self.spatial_dims)}."
            )
        wrong = int((~x.isfinite()).sum()) if x.is_floating_point() else 0
        if wrong:
            raise ValueError(
                f"{name} has {wrong} NaN or infinite intensities: replace them, for example by the lowest intensity, "
                "or leave the image out."
            )
        if len(x) == 1 and self.repeat_gray:
            x = x.expand(self.num_channels, *x.shape[1:])
        if len(x) != self.num_channels:
            raise ValueError(
                f"{name} has {len(x)} channel{'s' * (len(x) != 1)}, but the network takes {self.num_channels}: save it "
                f"with as many, or set `in_channels` to {len(x)} for training."
            )
        out: NdarrayOrTensor = convert_to_dst_type(x.contiguous(), dst=image, dtype=x.dtype)[0]
        return out


def seen_size(native: Sequence[int], zoom: float, shortest_side: int | None = None) -> list[int]:
    """
    The size at which a network sees an image, in training as afterwards.

    Args:
        native: the image's own size.
        zoom: factor.
        shortest_side: pixels that the shortest side has before ``zoom``, at most four times as many along the longest
            side, as a narrow strip is no picture of the same field. None: as many as it has.

    Example:
        >>> from monai_sscm.transforms import seen_size
        >>> seen_size((1200, 1600), zoom=0.5), seen_size((1200, 1600), zoom=0.5, shortest_side=960)
        ([600, 800], [480, 640])
    """
    sizes = list(native)
    if shortest_side is not None:
        shortest = max(min(native), max(native) / _LONGEST)
        sizes = [max(1, round(n * shortest_side / shortest)) for n in native]
    return [max(1, int(n * zoom)) for n in sizes]


def resize_image(images: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """
    Resize images ``(B, C, *spatial)`` as a network sees them: reduced by means, enlarged smoothly.

    Args:
        images: a batch.
        size: their new size.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import resize_image
        >>> resize_image(torch.rand(2, 3, 40, 60), (20, 30)).shape
        torch.Size([2, 3, 20, 30])
    """
    native = images.shape[2:]
    return interpolate(images, list(size), mode="area" if min(size) <= min(native) else SMOOTH[len(native)])


class ZoomToSide(Transform):
    """
    Resize an image or a mask to the size at which the network sees it, see :py:func:`seen_size`: as
    :py:class:`monai_sscm.inferers.ZoomInferer` resizes images afterwards.

    Args:
        zoom, shortest_side: see :py:func:`seen_size`.
        nearest: whether each pixel is one of the image's, as of masks, and no mean.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import ZoomToSide
        >>> ZoomToSide(zoom=0.5, shortest_side=960)(torch.rand(3, 120, 160)).shape
        torch.Size([3, 480, 640])
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, zoom: float, shortest_side: int | None = None, nearest: bool = False) -> None:
        self.zoom = zoom
        self.shortest_side = shortest_side
        self.nearest = nearest

    def __call__(self, image: NdarrayOrTensor) -> NdarrayOrTensor:
        """
        Args:
            image: channel-first image or mask.
        """
        size = seen_size(image.shape[1:], self.zoom, self.shortest_side)
        if size == list(image.shape[1:]):
            return image
        x = convert_to_tensor(image, track_meta=False)[None]
        x = interpolate(x, size, mode="nearest-exact") if self.nearest else resize_image(x, size)
        out: NdarrayOrTensor = convert_to_dst_type(x[0], dst=image)[0]
        return out


def field_of_view(image: NdarrayOrTensor, margin: int = 0) -> np.ndarray:
    """
    Find where a photograph of the eye's background, as other pictures through a round lens, shows something.

    Its dark border is what touches the edge of the picture and has less than a tenth of the brightness that its bright
    parts have, or up to a fifth where the edge is as bright. What of it is narrower than a hundredth of the picture's
    shortest side, as a vessel that reaches the edge, is no border. The field is the largest piece that is left. Where a
    picture has no border, it is all of it.

    Args:
        image: ``(C, H, W)`` with its own intensities, of which 0 is black.
        margin: pixels along the border that do not belong to the field either.

    Returns:
        bool array ``(H, W)``.

    Example:
        >>> import numpy as np
        >>> from monai_sscm.transforms import field_of_view
        >>> photograph = np.full((3, 100, 120), 80)
        >>> photograph[:, :20] = 3  # black rows
        >>> field_of_view(photograph).sum(axis=0)[:3]
        array([80, 80, 80])
    """
    bright = convert_to_tensor(image, dtype=torch.float32, track_meta=False).amax(0).cpu().numpy()
    everything = np.ones(bright.shape, bool)
    if not (bright > 0).any():
        return everything
    high = np.percentile(bright[bright > 0], 90)
    edge = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    level = np.median(edge[edge < 0.2 * high]) if (edge < 0.2 * high).any() else 0  # some cameras' black is not 0
    dark = bright < min(0.2 * high, max(0.1 * high, 1.5 * level))
    # narrow pieces go; the border goes on beyond the picture
    half = max(1, min(bright.shape) // 200)
    opened = ndimage.binary_opening(np.pad(dark, 2 * half, mode="edge"), iterations=half)
    pieces, _ = ndimage.label(opened[2 * half : -2 * half, 2 * half : -2 * half])
    outermost = np.unique(np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]))
    border = np.isin(pieces, outermost[outermost > 0])
    if not border.any() or border.all():
        return everything
    pieces, count = ndimage.label(~border)
    field = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:]) if count else everything
    if margin:
        # the edge of the picture is no border
        field &= ndimage.distance_transform_edt(field) > margin
    return np.asarray(field)


class BlackenBorder(Transform):
    """
    Make the border around a photograph's field of view black, see :py:func:`field_of_view`.

    Some cameras' black is not 0. Where a network has seen 0 alone, it takes the border of another black for vessels and
    the like, in a bar along it.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import BlackenBorder
        >>> photograph = torch.full((3, 100, 120), 80)
        >>> photograph[:, :20] = 12  # another camera's black
        >>> BlackenBorder()(photograph)[:, :20].unique(), BlackenBorder()(photograph)[:, 20:].unique()
        (tensor([0]), tensor([80]))
    """

    backend = [TransformBackends.TORCH]

    def __call__(self, image: NdarrayOrTensor) -> NdarrayOrTensor:
        """
        Args:
            image: the photograph ``(C, H, W)`` with its own intensities.
        """
        x = convert_to_tensor(image, track_meta=False)
        outside = torch.as_tensor(~field_of_view(image), device=x.device)
        out: NdarrayOrTensor = convert_to_dst_type(x.masked_fill(outside, 0), dst=image)[0]
        return out


class KeepFieldOfView(Transform):
    """
    Leave no prediction outside the field of view of a photograph, see :py:func:`field_of_view`: along a black border,
    networks see vessels and the like.

    Args:
        margin: pixels along the border in which nothing is predicted either, of a picture whose shortest side has a
            thousand.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import KeepFieldOfView
        >>> photograph, logits = torch.full((3, 100, 120), 80), torch.rand(2, 100, 120)
        >>> photograph[:, :20] = 3  # black rows
        >>> int(KeepFieldOfView()(logits, photograph).argmax(0)[:20].sum())
        0
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, margin: float = 0) -> None:
        self.margin = margin

    def __call__(self, pred: NdarrayOrTensor, image: NdarrayOrTensor) -> NdarrayOrTensor:  # type: ignore[override]
        """
        Args:
            pred: logits ``(classes, H, W)``, or class indices ``(1, H, W)``.
            image: the photograph ``(C, H, W)`` with its own intensities.
        """
        x = convert_to_tensor(pred, track_meta=False)
        margin = round(self.margin * min(x.shape[1:]) / 1000)
        outside = torch.as_tensor(~field_of_view(image, margin), device=x.device)
        if len(x) == 1:
            x = x.masked_fill(outside, 0)
        else:  # the background is certain
            background = x.new_zeros(len(x), 1)
            background[0] = 100
            x = torch.where(outside, background[..., None], x)
        out: NdarrayOrTensor = convert_to_dst_type(x, dst=pred)[0]
        return out
