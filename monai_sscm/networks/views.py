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


"""Other views of a trained network on an image, which agree with it where it is sure."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import avg_pool2d, avg_pool3d

from .ensemble import Ensemble
from .teacher import unwrap
from .weights import load_checkpoint, load_weights

__all__ = ["make_views"]

_NOISE = 0.3  # of the spread of an image's intensities


def make_views(
    network: nn.Module,
    checkpoint: str | Path | Sequence[str | Path] | None = None,
    weights: str = "teacher",
    mirror_axes: Sequence[int] = (),
) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """
    Functions from images to logits that would give the network's masks if it were sure of them:

    - each network of an :py:class:`Ensemble` by itself;
    - the student of a training whose teacher the network is, or the teacher of a student, where the training's states
      are beside the weights;
    - the network on images that are mirrored along one axis, where it learned from such;
    - the network on the image with noise, of 0.3 times the spread of its intensities;
    - the network on the image, each pixel of which is the mean of it and its neighbors.

    Args:
        network: network with its weights, on its device.
        checkpoint: file of them, ``models/model.pt`` or ``states/last.pt`` of a training, or a list of files for an
            ensemble. None: not known.
        weights: ``"teacher"`` or ``"student"``, which of a training's networks it is.
        mirror_axes: spatial axes along which it was trained on mirrored images.

    Returns:
        the views by their names, at least two.

    Example:
        >>> import torch
        >>> from monai_sscm.networks import make_views
        >>> views = make_views(torch.nn.Conv2d(1, 2, 3, padding=1), mirror_axes=[0])
        >>> sorted(views), views["mirrored along 0"](torch.rand(4, 1, 8, 8)).shape
        (['blurred', 'mirrored along 0', 'noisy'], torch.Size([4, 2, 8, 8]))
    """
    views: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {}
    if isinstance(network, Ensemble):
        views |= {f"network {i}": member for i, member in enumerate(network.networks)}
    elif isinstance(checkpoint, (str, Path)):
        other = "student" if weights == "teacher" else "teacher"
        member = _other_network(network, Path(checkpoint), weights, other)
        views |= {} if member is None else {other: member}
    for axis in mirror_axes:
        views[f"mirrored along {axis}"] = _mirrored(network, axis)
    return views | {"noisy": _noisy(network), "blurred": _blurred(network)}


def _other_network(network: nn.Module, checkpoint: Path, weights: str, other: str) -> nn.Module | None:
    """The student of a teacher, or the teacher of a student; None where it is not there."""
    states = [checkpoint, checkpoint.parent.parent / "states" / "last.pt"]
    own = unwrap(network).state_dict()
    for path in states:
        state: Any = load_checkpoint(path) if path.is_file() else {}
        if not (isinstance(state, dict) and weights in state and other in state):
            continue
        theirs = state[weights]
        if theirs.keys() == own.keys() and all(torch.equal(theirs[name], x.cpu()) for name, x in own.items()):
            found = copy.deepcopy(network)
            load_weights(found, path, other)
            return found.eval()
    return None


def _mirrored(network: nn.Module, axis: int) -> Callable[[torch.Tensor], torch.Tensor]:
    def view(x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(network(x.flip(axis + 2))).flip(axis + 2)

    return view


def _noisy(network: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    def view(x: torch.Tensor) -> torch.Tensor:
        spread = x.std(dim=tuple(range(2, x.ndim)), keepdim=True)
        # the same noise each time, so that an image gets the same agreement each time
        noise = torch.randn(x.shape, generator=torch.Generator(x.device).manual_seed(0), device=x.device, dtype=x.dtype)
        return torch.as_tensor(network(x + _NOISE * spread * noise))

    return view


def _blurred(network: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    def view(x: torch.Tensor) -> torch.Tensor:
        pool = avg_pool2d if x.ndim == 4 else avg_pool3d
        return torch.as_tensor(network(pool(x, 3, stride=1, padding=1, count_include_pad=False)))

    return view
