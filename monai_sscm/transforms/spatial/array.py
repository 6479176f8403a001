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

from collections.abc import Sequence
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
    Mirrors and turns images at random, uniformly: each of some axes is flipped or not, and, where the first two axes
    are of one length, their plane is given quarter turns. In 2D or 3D.

    The same distribution as MONAI's ``RandFlip`` along each axis and ``RandRotate90``, in a tenth of the time where no
    metadata is kept; where it is, MONAI's ``Flip`` and ``Rotate90`` do the work, the affine matrix follows, and
    ``inverse`` undoes what was done.

    Args:
        mirror_axes: the axes that are flipped, from 0, without the channel's; none where left and right are classes.
        turn: whether there are quarter turns in the first two axes, of planes that are square.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import RandSymmetry
        >>> image = torch.arange(4).view(1, 2, 2)
        >>> symmetry = RandSymmetry().set_random_state(0)
        >>> len({tuple(symmetry(image).flatten().tolist()) for _ in range(100)})
        8
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, mirror_axes: Sequence[int] = (0, 1), turn: bool = True) -> None:
        super().__init__(prob=1.0)
        if len(set(mirror_axes)) != len(mirror_axes) or min(mirror_axes, default=0) < 0:
            raise ValueError(f"`mirror_axes` must be different axes, from 0, got {mirror_axes!r}.")
        self.mirror_axes = tuple(mirror_axes)
        self.turn = turn
        self._flips = [False] * len(self.mirror_axes)
        self._turns = 0

    def randomize(self, data: Any = None) -> None:
        """Draw whether to flip each of the axes, and how often to turn."""
        # always as many numbers, so that they do not depend on the images
        *flips, turn = self.R.random_sample(len(self.mirror_axes) + 1).tolist()
        self._flips = [x < 0.5 for x in flips]
        # two flips are a half turn
        self._turns = int(turn < 0.5) if {0, 1} <= set(self.mirror_axes) else int(4 * turn)

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> torch.Tensor:
        """
        Args:
            img: channel-first image.
            randomize: whether to draw anew, or to do the same as the last time.
        """
        if randomize:
            self.randomize()
        image: torch.Tensor = convert_to_tensor(img, track_meta=get_track_meta())
        axes = [axis for axis, flip in zip(self.mirror_axes, self._flips, strict=True) if flip]
        turns = self._turns if self.turn and image.shape[1] == image.shape[2] else 0
        if isinstance(image, MetaTensor):
            # a copy where nothing is moved, or the record would be the given image's, too
            image = self._move(image, axes, turns) if axes or turns else image.clone()
            self.push_transform(image, extra_info={"flipped": axes, "turns": turns})
            return image
        image = image.flip([axis + 1 for axis in axes]) if axes else image
        return image.rot90(turns, (1, 2)) if turns else image

    def inverse(self, data: MetaTensor) -> MetaTensor:
        """
        Undo what was done last.

        Args:
            data: image that this transform gave.
        """
        record = self.pop_transform(data)[TraceKeys.EXTRA_INFO]
        turned_back = self._move(data, [], -record["turns"] % 4)
        return self._move(turned_back, record["flipped"], 0)

    def _move(self, image: MetaTensor, axes: list[int], turns: int) -> MetaTensor:
        """Flip, then turn, without a record of either."""
        flips: list[Flip | Rotate90] = [Flip(axes)] if axes else []
        for transform in flips + ([Rotate90(turns, (0, 1))] if turns else []):
            transform.tracing = False
            image = transform(image)  # type: ignore[assignment]
        return image
