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

"""Transforms in a row, for the inner loop of a training."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from monai.config.type_definitions import NdarrayOrTensor
from monai.data import MetaTensor, get_track_meta, set_track_meta
from monai.transforms import Compose, Randomizable, Transform
from monai.utils import MAX_SEED

__all__ = ["ForEachStreamD", "ForEachStreamDict", "ForEachStreamd", "NoMetadataCompose"]


class ForEachStreamd(Randomizable, Transform):
    """
    The same transforms on labelled, unlabelled and donor images of a batch, with random numbers of their own for each.

    The transforms are written for ``image`` and ``label``; each stream has a copy of them. A stream that is not in the
    batch is left out, and one without a label has an ``image`` alone.

    Args:
        transforms: dictionary transforms of ``image`` and, where it is there, ``label``.
        streams: what the streams' keys begin with.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import ForEachStreamd, RandBatchAffined
        >>> move = RandBatchAffined(["image", "label"], 2, mode=["bilinear", "nearest"], allow_missing_keys=True)
        >>> batch = {"image": torch.rand(2, 1, 8, 8), "label": torch.ones(2, 1, 8, 8)}
        >>> batch["unlabeled_image"] = torch.rand(4, 1, 8, 8)
        >>> {key: len(value) for key, value in ForEachStreamd([move])(batch).items()}
        {'image': 2, 'label': 2, 'unlabeled_image': 4}
    """

    def __init__(self, transforms: Sequence[Callable], streams: Sequence[str] = ("", "unlabeled_", "donor_")) -> None:
        self.transforms = {stream: Compose(deepcopy(list(transforms))) for stream in streams}

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> ForEachStreamd:
        super().set_random_state(seed, state)
        for transform in self.transforms.values():
            transform.set_random_state(seed=int(self.R.randint(MAX_SEED, dtype="uint32")))
        return self

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        d = dict(data)
        for stream, transform in self.transforms.items():
            if f"{stream}image" in d:
                of_stream = {key: d[stream + key] for key in ("image", "label") if stream + key in d}
                d.update({stream + key: value for key, value in transform(of_stream).items()})
        return d


ForEachStreamD = ForEachStreamDict = ForEachStreamd


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
