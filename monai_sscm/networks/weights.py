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

"""Weights from a checkpoint, with an answer for every file that is none."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from monai_sscm.errors import one_line

from .teacher import unwrap

__all__ = ["load_checkpoint", "load_weights", "training_settings"]


def load_checkpoint(path: str | Path) -> Any:
    """
    Read a checkpoint onto the CPU, if it is whole: ``torch.load`` alone takes a file in which bits have flipped.

    Args:
        path: file that ``torch.save`` wrote, of tensors and plain containers.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is damaged, or holds more than tensors and plain containers.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from monai_sscm.networks import load_checkpoint
        >>> path = tempfile.mkdtemp() + "/a.pt"
        >>> torch.save({"x": torch.ones(2)}, path)
        >>> load_checkpoint(path)
        {'x': tensor([1., 1.])}
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no checkpoint {str(path)!r}: train first, or set `checkpoint` to a file.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:
                    raise ValueError("a checksum differs")
    except Exception as e:  # a damaged or foreign file can fail in any way
        raise ValueError(
            f"The checkpoint {str(path)!r} cannot be read: it is damaged, or was not saved by PyTorch as plain "
            f"weights. Use another, or train again ({type(e).__name__})."
        ) from e
    return state


def load_weights(network: nn.Module, path: str | Path, weights: str = "teacher") -> None:
    """
    Load a network's weights from a checkpoint of a training, or from a file that holds them alone.

    Args:
        network: network to load them into.
        path: ``states/last.pt`` or ``states/best.pt`` of a training, see
            :py:class:`monai_sscm.handlers.CheckpointHandler`, or a plain ``state_dict`` such as a bundle's
            ``models/model.pt``, which is a teacher's.
        weights: ``"teacher"`` or ``"student"``.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when the file is damaged, holds other things than weights, NaN, or weights of another network.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from torch import nn
        >>> from monai_sscm.networks import load_weights
        >>> path = tempfile.mkdtemp() + "/model.pt"
        >>> torch.save(nn.Linear(2, 1).state_dict(), path)
        >>> load_weights(nn.Linear(2, 1), path)
        >>> load_weights(nn.Linear(3, 1), path)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: The weights in ... are of another network: ...
    """
    if weights not in ("teacher", "student"):
        raise ValueError(f"`weights` must be 'teacher' or 'student', got {weights!r}.")
    state = load_checkpoint(path)
    if not isinstance(state, Mapping):
        raise ValueError(f"The checkpoint {str(path)!r} holds a {type(state).__name__} and no weights: use another.")
    if weights in state:
        state = state[weights]
    elif not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"The checkpoint {str(path)!r} holds {list(state)[:5]} and no {weights}: use another.")
    elif weights == "student":
        raise ValueError(
            f"The file {str(path)!r} holds one network only, the teacher: set `weights` to 'teacher', or "
            "`checkpoint` to states/last.pt of a training."
        )
    broken = [name for name, value in state.items() if not bool(value.isfinite().all())]
    if broken:
        raise ValueError(
            f"The checkpoint {str(path)!r} has NaN or infinite weights in {broken[0]!r}: use an earlier one, or "
            "train again."
        )
    try:
        unwrap(network).load_state_dict(state)
    except Exception as e:
        raise ValueError(
            f"The weights in {str(path)!r} are of another network: use the network, `in_channels` and `class_names` "
            f"that they were trained with ({one_line(e)})."
        ) from e


def training_settings(path: str | Path) -> dict[str, Any]:
    """
    What a network was trained with, such as ``zoom`` and ``class_names`` in the bundles, so that nobody needs to give
    it again to use the network.

    Args:
        path: ``states/last.pt`` or ``states/best.pt`` of a training, see
            :py:class:`monai_sscm.handlers.CheckpointHandler`, or weights alone, such as a bundle's
            ``models/model.pt``, which have it in ``settings.json`` beside them.

    Returns:
        the settings.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when a file is damaged, or there are no settings.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from monai_sscm.networks import training_settings
        >>> path = tempfile.mkdtemp() + "/last.pt"
        >>> torch.save({"teacher": {}, "settings": {"zoom": 0.5}}, path)
        >>> training_settings(path)["zoom"]
        0.5
    """
    path = Path(path)
    state = load_checkpoint(path)
    settings = state.get("settings") if isinstance(state, Mapping) else None
    for beside in (path.with_name("settings.json"), path.parent.parent / "models" / "settings.json"):
        if not isinstance(settings, Mapping) and beside.is_file():
            try:
                settings = json.loads(beside.read_text("utf-8"))
            except ValueError as e:
                raise ValueError(f"{str(beside)!r} is no JSON ({e}): copy it from the training or bundle again.") from e
    if not isinstance(settings, Mapping):
        raise ValueError(
            f"The weights {str(path)!r} do not say how their network sees images: keep the settings.json of their "
            "training or bundle beside them."
        )
    return dict(settings)
