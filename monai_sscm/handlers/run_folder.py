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

"""The folder of a training: one process writes to it at a time, and an earlier training's files are set aside."""

from __future__ import annotations

import atexit
import errno
import logging
import os
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from ignite import distributed as idist

from .saving import check_writable

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]
    import msvcrt

__all__ = ["claim_folder", "release_folder", "set_aside"]

_LOCK = ".lock"
_TAKEN = (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK, errno.EDEADLK)
_logger = logging.getLogger(__name__)
# folders that this process writes to: the open lock, None where the file system has none, and the logs of before
_claims: dict[str, tuple[int | None, list[Path]]] = {}


def claim_folder(folder: str | Path, logs: bool = True) -> str:
    """
    Make a folder for results, see that files can be written to it, and keep other processes from training in it until
    :py:func:`release_folder`, or this process's end, however it comes.

    Of several processes of a training the first does it. On a file system that has no locks nothing is kept away.

    Args:
        folder: the folder.
        logs: whether the files in its ``logs`` are an earlier training's, for :py:func:`set_aside`.

    Returns:
        the folder.

    Raises:
        OSError: when it cannot be made or written to.
        ValueError: when another process trains in it.

    Example:
        >>> import os, tempfile
        >>> from monai_sscm.handlers import claim_folder, release_folder
        >>> folder = claim_folder(tempfile.mkdtemp())
        >>> os.listdir(folder)
        ['.lock']
        >>> release_folder(folder)
        >>> os.listdir(folder)
        []
    """
    check_writable(folder)
    if idist.get_rank() > 0 or int(os.environ.get("RANK", 0)) > 0:
        return str(folder)
    key = os.path.realpath(folder)
    lock = _claims[key][0] if key in _claims else _lock(Path(folder) / _LOCK)
    _claims[key] = lock, sorted(path for path in Path(folder).glob("logs/*") if logs and path.is_file())
    return str(folder)


def release_folder(folder: str | Path) -> None:
    """
    Let others train in a folder again.

    Args:
        folder: the folder; one that this process has not claimed stays as it is.
    """
    lock, _ = _claims.pop(os.path.realpath(folder), (None, []))
    if lock is not None:
        _unlock(Path(folder) / _LOCK, lock)


def is_claimed(folder: str | Path) -> bool:
    """Whether this process has claimed a folder."""
    return os.path.realpath(folder) in _claims


def _lock(path: Path) -> int | None:
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            else:
                msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError as e:
            holder = _read(file)
            os.close(file)
            if e.errno in _TAKEN:
                raise ValueError(
                    f"Another process{holder} trains in {str(path.parent)!r}: wait until it has ended, or choose "
                    "another `output_dir`."
                ) from e
            path.unlink(missing_ok=True)
            _logger.info(f"{str(path.parent)!r} cannot be locked ({e.strerror}): start no other training in it.")
            return None
        if path.exists() and os.path.samestat(os.fstat(file), os.stat(path)):  # or its last holder has removed it
            if fcntl is not None:
                os.truncate(file, 0)
                os.write(file, f" ({os.getpid()} on {socket.gethostname()})".encode())
            return file
        os.close(file)


def _read(file: int) -> str:
    try:
        return os.read(file, 200).decode(errors="replace")
    except OSError:
        return ""


def _unlock(path: Path, lock: int) -> None:
    try:
        if fcntl is not None and path.exists() and os.path.samestat(os.fstat(lock), os.stat(path)):
            path.unlink()
            fcntl.flock(lock, fcntl.LOCK_UN)
    except OSError:
        pass  # the folder may be gone, and the lock ends with the file
    os.close(lock)


@atexit.register
def _release_all() -> None:
    for folder in list(_claims):
        release_folder(folder)


def set_aside(folder: str | Path) -> None:
    """
    Move the files of an earlier training into a folder of their own, a numbered one within ``earlier``: its weights,
    states, logs and evaluations. Its configuration is copied.

    Args:
        folder: folder of the training.
    """
    root = Path(folder)
    # the model first: it must never be taken for that of the new training
    files = [path for name in ("models", "states") for path in sorted((root / name).glob("*")) if path.is_file()]
    logs = _claims.get(os.path.realpath(root), (None, []))[1]
    if not files and not logs:
        return
    target = _next(root / "earlier")
    _move([*files, *logs, *(path for path in sorted(root.glob("evaluation_*")) if path.is_dir())], root, target)
    for name in ("configs", "docs"):
        if (root / name).is_dir():
            shutil.copytree(root / name, target / name)
    _logger.warning(
        f"{str(root)!r} holds an earlier training, which is now in {str(target)!r}. To go on with it instead, stop "
        "this one, move its files back and add --resume true."
        if files
        else f"The logs of an earlier training in {str(root)!r}, which saved nothing, are now in {str(target)!r}."
    )


def _next(earlier: Path) -> Path:
    """The folder with the next number."""
    return earlier / str(1 + max((int(path.name) for path in earlier.glob("*") if path.name.isdecimal()), default=0))


def _move(paths: Sequence[Path], root: Path, target: Path) -> None:
    for path in paths:
        to = target / path.relative_to(root)
        to.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, to)


def _forget_claims() -> None:
    """In a forked process, such as one that loads images: it must not hold the lock longer than the one that trains."""
    for lock, _ in _claims.values():
        if lock is not None:
            os.close(lock)
    _claims.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_claims)
