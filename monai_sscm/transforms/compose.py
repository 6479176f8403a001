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

"""Transforms on plain tensors, for the inner loop of a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from monai.data import MetaTensor, get_track_meta, set_track_meta
from monai.transforms import Compose

__all__ = ["NoMetadataCompose"]


class NoMetadataCompose(Compose):
    """
    ``Compose`` whose transforms get and give plain tensors: no metadata is kept, and none is computed.

    For the random crops and flips of a training, whose batches lose their metadata anyway: with
    :py:class:`monai.data.MetaTensor` every one of them updates affine matrices and records of what was applied, which
    takes most of the time that it takes to load a batch. As the last transform of a ``Compose``, after those that read
    and check, which name files by their metadata. Transforms run one after another, on each item of a list where one of
    them gave a list; nothing is lazy. Meanwhile metadata is off for the whole process: use workers that are processes,
    not threads.

    Args:
        transforms: the transforms.

    Example:
        >>> import torch
        >>> from monai.data import MetaTensor
        >>> from monai.transforms import RandSpatialCropd
        >>> from monai_sscm.transforms import NoMetadataCompose
        >>> crop = NoMetadataCompose([RandSpatialCropd("image", (4, 4), random_size=False)])
        >>> type(crop({"image": MetaTensor(torch.rand(1, 8, 8))})["image"]).__name__
        'Tensor'
    """

    def __init__(self, transforms: Sequence[Callable] | Callable | None = None) -> None:
        super().__init__(transforms)

    def __call__(  # type: ignore[override]
        self, input_: Any, start: int = 0, end: int | None = None, **kwargs: Any
    ) -> Any:
        """
        Args:
            input_: what the first transform takes.
            start: index of the first transform that is applied.
            end: index of the first that is not; None: all that follow are applied.
            kwargs: what a ``Compose`` around this one hands on (``threading``, ``lazy``), which has no meaning here.
        """
        input_ = _plain(input_)
        before = get_track_meta()
        set_track_meta(False)
        try:
            for transform in self.transforms[start:end]:
                input_ = [transform(item) for item in input_] if isinstance(input_, list) else transform(input_)
            return input_
        finally:
            set_track_meta(before)


def _plain(x: Any) -> Any:
    """The same without metadata."""
    if isinstance(x, Mapping):
        return {key: _plain(value) for key, value in x.items()}
    if isinstance(x, list):
        return [_plain(value) for value in x]
    return x.as_tensor() if isinstance(x, MetaTensor) else x
