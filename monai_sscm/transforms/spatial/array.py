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

"""
Flips and quarter turns in one transform, for the inner loop of a training.

See :py:mod:`monai_sscm.transforms.spatial.dictionary` for the dictionary version.
"""

from __future__ import annotations

from typing import Any

import torch
from monai.config.type_definitions import NdarrayOrTensor
from monai.data import MetaTensor, get_track_meta
from monai.transforms import Flip, InvertibleTransform, Rotate90
from monai.transforms.transform import RandomizableTransform
from monai.utils import TraceKeys, TransformBackends, convert_to_tensor

__all__ = ["RandSymmetry"]


class RandSymmetry(RandomizableTransform, InvertibleTransform):
    """
    One of the symmetries of a rectangle, or of a square, drawn uniformly: each of two axes is flipped or not, and,
    where both are of one length, the plane is given a quarter turn or not.

    The same distribution as MONAI's ``RandFlip`` along each axis and ``RandRotate90``, in a tenth of the time where no
    metadata is kept; where it is, MONAI's ``Flip`` and ``Rotate90`` do the work, the affine matrix follows, and
    ``inverse`` undoes what was done.

    Args:
        spatial_axes: the two axes, without the channel's.
        turn: whether there are quarter turns, of planes that are square.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import RandSymmetry
        >>> image = torch.arange(4).view(1, 2, 2)
        >>> symmetry = RandSymmetry().set_random_state(0)
        >>> len({tuple(symmetry(image).flatten().tolist()) for _ in range(100)})
        8
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, spatial_axes: tuple[int, int] = (0, 1), turn: bool = True) -> None:
        super().__init__(prob=1.0)
        if len(set(spatial_axes)) != 2 or min(spatial_axes) < 0:
            raise ValueError(f"`spatial_axes` must be two different axes, from 0, got {spatial_axes!r}.")
        self.spatial_axes = (spatial_axes[0], spatial_axes[1])
        self.turn = turn
        self._draw = (False, False, False)

    def randomize(self, data: Any = None) -> None:
        """Draw whether to flip each of the axes, and whether to turn."""
        # always three numbers, so that they do not depend on the images
        first, second, turn = (self.R.random_sample(3) < 0.5).tolist()
        self._draw = (first, second, turn)

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> torch.Tensor:
        """
        Args:
            img: channel-first image.
            randomize: whether to draw anew, or to do the same as the last time.
        """
        if randomize:
            self.randomize()
        *flips, turn = self._draw
        image: torch.Tensor = convert_to_tensor(img, track_meta=get_track_meta())
        axes = [axis for axis, flip in zip(self.spatial_axes, flips, strict=True) if flip]
        first, second = (axis + 1 for axis in self.spatial_axes)
        turn = turn and self.turn and image.shape[first] == image.shape[second]
        if isinstance(image, MetaTensor):
            # a copy where nothing is moved, or the record would be the given image's, too
            image = self._move(image, axes, 1 if turn else 0) if axes or turn else image.clone()
            self.push_transform(image, extra_info={"flipped": axes, "turn": turn})
            return image
        image = image.flip([axis + 1 for axis in axes]) if axes else image
        return image.rot90(1, (first, second)) if turn else image

    def inverse(self, data: MetaTensor) -> MetaTensor:
        """
        Undo what was done last.

        Args:
            data: image that this transform gave.
        """
        record = self.pop_transform(data)[TraceKeys.EXTRA_INFO]
        turned_back = self._move(data, [], 3 if record["turn"] else 0)
        return self._move(turned_back, record["flipped"], 0)

    def _move(self, image: MetaTensor, axes: list[int], turns: int) -> MetaTensor:
        """Flip, then turn, without a record of either."""
        flips: list[Flip | Rotate90] = [Flip(axes)] if axes else []
        for transform in flips + ([Rotate90(turns, self.spatial_axes)] if turns else []):
            transform.tracing = False
            image = transform(image)  # type: ignore[assignment]
        return image
