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


"""What a training and the checkpoint that it goes on from must agree on: all that changes what is learned."""

from __future__ import annotations

import contextlib
import logging
import shlex
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ignite import distributed as idist

from monai_sscm.bundle import find_weights
from monai_sscm.command_line import configured_values, learned_parts
from monai_sscm.data import describe_changes
from monai_sscm.data.contents import content_marks

__all__ = ["check_agreement", "describe_training"]

_PACKAGES = ("monai-sscm", "monai", "torch")
_logger = logging.getLogger(__name__)


def describe_training(
    settings: Mapping[str, Any], images: Mapping[str, Mapping[str, str]] | None, init_from: str | Path | None
) -> dict[str, Any]:
    """
    What a checkpoint says of its training, besides the states of its objects.

    Args:
        settings: plain values that it depends on.
        images: what :py:func:`monai_sscm.data.listed_images` says of its images. None: it is not known.
        init_from: weights that it started from. None: random ones.

    Returns:
        ``settings``, ``images`` where they are known, ``parts`` of the configuration, see
        :py:func:`monai_sscm.command_line.learned_parts`, ``init_from``, its file and a mark of what is in it, the
        number of ``processes``, and ``versions`` of packages.
    """
    about: dict[str, Any] = {"settings": dict(settings), "processes": idist.get_world_size()}
    about["parts"] = learned_parts(str(settings.get("method")))
    about["versions"] = {name: found for name in _PACKAGES if (found := _version(name))}
    about["init_from"] = None
    if init_from is not None:
        with contextlib.suppress(FileNotFoundError):  # no matter where the training goes on
            file = find_weights(init_from)
            about["init_from"] = {"file": file, "content": content_marks([], [file])[file]}
    return about if images is None else {**about, "images": images}


def check_agreement(path: Path, state: Mapping[str, Any], ours: dict[str, Any], trainer: Any) -> None:
    """
    Refuse a checkpoint of a training that this one does not go on with. What an older version did not save is not
    compared.

    Args:
        path: the checkpoint.
        state: what is in it.
        ours: what :py:func:`describe_training` says of this training; gets the overrides of all commands so far.
        trainer: this training's.

    Raises:
        ValueError: then.
    """
    _compare_settings(path, state, ours["settings"], trainer)
    theirs = state.get("parts") or {}
    if theirs and ours["parts"]:
        different = sorted(n for n in theirs.keys() | ours["parts"].keys() if theirs.get(n) != ours["parts"].get(n))
        if different:
            raise ValueError(
                f"The checkpoint {str(path)!r} is of a training with another configuration, which differs in "
                f"{', '.join(f'`{name}`' for name in different[:5])}: restore what is there to resume, or give another "
                "`output_dir` to start anew."
            )
    _compare_weights(path, state, ours)
    _compare_images(path, state, ours)
    before = state.get("versions") or {}
    other = [f"{name} {before[name]}, now {v}" for name, v in ours["versions"].items() if before.get(name, v) != v]
    if other and idist.get_rank() == 0:
        _logger.warning(f"The training was started with other versions ({'; '.join(other)}): it goes on with these.")
    iteration, max_epochs = state["trainer"].get("iteration", 0), trainer.state.max_epochs
    if iteration > max_epochs * trainer.state.epoch_length:
        raise ValueError(
            f"The training in {str(path)!r} has done {iteration / trainer.state.epoch_length:g} epochs, more than "
            f"max_epochs={max_epochs}: give a larger number to go on, or another `output_dir` to start anew."
        )


def _compare_settings(path: Path, state: Mapping[str, Any], settings: dict[str, Any], trainer: Any) -> None:
    theirs = state.get("settings")
    theirs = {**(theirs if isinstance(theirs, Mapping) else {}), **state["trainer"]}
    ours = {**settings, "seed": trainer.seed, "epoch_length": trainer.state.epoch_length}
    overrides, their_overrides = ours.pop("overrides", {}), theirs.get("overrides", {})
    pairs = {name: (theirs.get(name), value) for name, value in ours.items()}
    # those of an earlier command stand in the configuration of the training's folder
    configured = configured_values(overrides.keys() | their_overrides.keys())
    for name in configured.keys() | (overrides.keys() & their_overrides.keys()):
        written = configured.get(name)
        pairs[name] = (their_overrides.get(name, written), overrides.get(name, written))
    for name, (their, our) in pairs.items():
        if their != our:
            raise ValueError(
                f"The checkpoint {str(path)!r} is of a training with {name}={their}, this one has {name}={our}: "
                "give the same value to resume, or another `output_dir` to start anew."
            )
    if their_overrides:  # of all commands so far
        settings["overrides"] = {**their_overrides, **overrides}


def _compare_weights(path: Path, state: Mapping[str, Any], ours: dict[str, Any]) -> None:
    if ours["init_from"] is None:  # it goes on from the checkpoint's weights in any case
        ours["init_from"] = state.get("init_from")
    if ours["init_from"] is None or "init_from" not in state:
        return
    theirs, ours = state["init_from"], ours["init_from"]
    if theirs is None or (theirs["file"] != ours["file"] and theirs["content"] != ours["content"]):
        raise ValueError(
            f"The checkpoint {str(path)!r} is of a training that started from "
            f"{'random weights' if theirs is None else repr(theirs['file'])}, not from {ours['file']!r}: leave out "
            "`--init_from` to go on with it, or give another `output_dir` to start anew."
        )


def _compare_images(path: Path, state: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    before, processes = state.get("images"), state.get("processes", 1)
    if processes != idist.get_world_size():
        _logger.warning(
            f"{processes} processes trained so far, {idist.get_world_size()} go on: a step sees so many times "
            "`batch_size` images."
        )
    if before is None or "images" not in ours:
        return
    changes = describe_changes(before, ours["images"])
    if changes is not None:
        raise ValueError(
            f"The checkpoint {str(path)!r} is of a training on other images than those that are listed now "
            f"({changes}): restore the data set as it was to resume, or give another `output_dir` to start anew, "
            f"with `--init_from {shlex.quote(str(path.parents[1]))}` from its weights."
        )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
