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
import logging
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from monai_sscm.errors import one_line

from .ensemble import Ensemble
from .teacher import unwrap

__all__ = ["init_weights", "load_checkpoint", "load_weights", "training_settings"]

_logger = logging.getLogger(__name__)
# what others put in front of every name, outermost first
_PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")


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


def load_weights(network: nn.Module, path: str | Path | Sequence[str | Path], weights: str = "teacher") -> None:
    """
    Load a network's weights from a checkpoint of a training, or from a file that holds them alone.

    Args:
        network: network to load them into.
        path: ``states/last.pt`` or ``states/best.pt`` of a training, see
            :py:class:`monai_sscm.handlers.CheckpointHandler`, or a plain ``state_dict`` such as a bundle's
            ``models/model.pt``, which is a teacher's. A list of them for an
            :py:class:`monai_sscm.networks.Ensemble`, one for each of its networks.
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
    if not isinstance(path, (str, Path)):
        members = network.networks if isinstance(network, Ensemble) else [network]
        for member, member_path in zip(members, path, strict=True):
            load_weights(member, member_path, weights)
        return
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


def init_weights(network: nn.Module, path: str | Path) -> list[str]:
    """
    Start a network from weights of another training: those that fit it by name and shape; the others stay.

    One line of the log says how many fit, and which do not.

    Args:
        network: network that is changed; a DDP or compiled network is unwrapped first.
        path: weights of any origin: a checkpoint of this package, of which the teacher is taken, a ``state_dict``, or
            a dictionary that holds one, such as ``{"state_dict": ...}``. Prefixes of names, such as ``module.`` of DDP,
            are left out where that fits better.

    Returns:
        names of the network's weights that are not taken.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is damaged, holds NaN, or no layer in it fits.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from torch import nn
        >>> from monai_sscm.networks import init_weights
        >>> path = tempfile.mkdtemp() + "/other.pt"
        >>> torch.save({"state_dict": {"module.weight": torch.ones(1, 2), "module.bias": torch.ones(7)}}, path)
        >>> layer = nn.Linear(2, 1)
        >>> init_weights(layer, path), layer.weight.tolist()
        (['bias'], [[1.0, 1.0]])
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"There are no weights {str(path)!r}: set `init_from` to a file or a bundle.")
    own = unwrap(network).state_dict()
    taken: dict[str, torch.Tensor] = {}
    for candidate in _state_dicts(load_checkpoint(path)):
        theirs = candidate
        for prefix in ("", *_PREFIXES):
            theirs = {name.removeprefix(prefix): value for name, value in theirs.items()}
            fitting = {name: x for name, x in theirs.items() if name in own and own[name].shape == x.shape}
            taken = fitting if len(fitting) > len(taken) else taken
    if not any(value.ndim > 1 for value in taken.values()):
        raise ValueError(
            f"No layer of the weights in {str(path)!r} fits this network by name and shape: build the network that "
            "they were trained with, or leave `init_from` out."
        )
    broken = [name for name, value in taken.items() if not bool(value.isfinite().all())]
    if broken:
        raise ValueError(f"The weights in {str(path)!r} are NaN or infinite in {broken[0]!r}: use others.")
    unwrap(network).load_state_dict(taken, strict=False)
    missing = [name for name in own if name not in taken]
    rest = f"; as initialized: {', '.join(missing)}" if missing else ""
    _logger.info(f"Started from {str(path)!r}: {len(taken)} of {len(own)} weights fit{rest}.")
    return missing


def _state_dicts(state: Any) -> Iterator[dict[str, torch.Tensor]]:
    """The tensors by name in a checkpoint, and in its entries; a teacher's first."""
    if isinstance(state, Mapping):
        nested = sorted(state.items(), key=lambda item: item[0] != "teacher")
        for entry in (*(value for _, value in nested), state):
            if isinstance(entry, Mapping):
                tensors = {str(name): x for name, x in entry.items() if isinstance(x, torch.Tensor)}
                if tensors:
                    yield tensors


def training_settings(path: str | Path | Sequence[str | Path]) -> Mapping[str, Any]:
    """
    What a network was trained with, such as ``zoom`` and ``class_names`` in the bundles, so that nobody needs to give
    it again to use the network.

    Args:
        path: ``states/last.pt`` or ``states/best.pt`` of a training, see
            :py:class:`monai_sscm.handlers.CheckpointHandler`, or weights alone, such as a bundle's
            ``models/model.pt``, which have it in ``settings.json`` beside them. Or a list of them.

    Returns:
        the settings; of a list, those of the first, which refuse to give one in which another differs.

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
    if not isinstance(path, (str, Path)):
        return _CommonSettings({str(p): training_settings(p) for p in path})
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


class _CommonSettings(Mapping):
    """The settings of several checkpoints, as far as they agree: what nobody asks for, such as a seed, may differ."""

    def __init__(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        self.settings = settings
        self.first, *self.others = settings

    def __getitem__(self, name: str) -> Any:
        value = self.settings[self.first].get(name)
        for other in self.others:
            if self.settings[other].get(name) != value:
                raise ValueError(
                    f"The networks {self.first!r} and {other!r} were trained with {name}={value} and "
                    f"{name}={self.settings[other].get(name)}: their probabilities can be averaged only where it is "
                    "the same."
                )
        return self.settings[self.first][name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.settings[self.first])

    def __len__(self) -> int:
        return len(self.settings[self.first])
