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


"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from monai_sscm.errors import one_line

__all__ = ["check_writable", "save_checkpoint"]


def check_writable(folder: str | Path) -> str:
    """
    Make a folder for results, and see that files can be written to it: now, and not after an hour of training.

    Args:
        folder: the folder.

    Returns:
        the folder.

    Raises:
        OSError: when it cannot be made or written to.

    Example:
        >>> import tempfile
        >>> from monai_sscm.handlers import check_writable
        >>> folder = tempfile.mkdtemp() + "/run"
        >>> check_writable(folder) == folder
        True
    """
    probe = Path(folder) / f".writable_{os.getpid()}"
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as e:
        raise OSError(
            f"The folder {str(folder)!r} cannot be written to ({e.strerror}): set `output_dir` to one that can."
        ) from e
    return str(folder)


def save_checkpoint(state: Mapping[str, Any], path: str | Path, previous: str | Path | None = None) -> None:
    """
    Write a checkpoint whole or not at all: to a temporary file, to the disk, and only then under its name.

    Args:
        state: what ``torch.save`` and ``torch.load(weights_only=True)`` take.
        path: its name. A file of this name stays until the new one is complete. Its folder is made where it is missing.
        previous: name under which that file is kept then. None: it is replaced.

    Raises:
        OSError: when it cannot be written, as on a full disk.

    Example:
        >>> import os, tempfile
        >>> import torch
        >>> from monai_sscm.handlers import save_checkpoint
        >>> folder = tempfile.mkdtemp()
        >>> save_checkpoint({"weight": torch.ones(2)}, folder + "/last.pt")
        >>> os.listdir(folder)
        ['last.pt']
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.is_file():
            os.replace(path, previous)
        os.replace(part, path)
    except BaseException as e:
        part.unlink(missing_ok=True)
        # torch.save makes a RuntimeError of some failures to write
        if isinstance(e, (OSError, RuntimeError)):
            raise OSError(
                f"The checkpoint {str(path)!r} cannot be written ({one_line(e)}): free space on the disk or see to "
                "the folder; then --resume true goes on from the last checkpoint that was written."
            ) from e
        raise
    if os.name == "posix":  # the names are on the disk only when their folder is
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
