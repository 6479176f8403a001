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

"""Errors for people: one sentence instead of the layers it came through."""

from __future__ import annotations

import builtins
import contextlib
import errno
import json
import logging
import os
import re
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm

from .command_line import MONAI_BUNDLE, command_line_words, config_files, other_overrides

__all__ = ["install_error_hook", "one_line", "override_fault", "raised_here", "root_cause", "shown"]

_PACKAGE = str(Path(__file__).parent) + os.sep
# what PyTorch says of a process that loads images: that it is no more, or what it raised, as text
_LOST = re.compile(r"DataLoader worker \(pid")
_IN_WORKER = re.compile(r"Caught \w+ in DataLoader worker")
# what may be wrong with a file wherever it is looked at, in code of others too
_OF_FILES = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.EIO, errno.ESTALE, errno.ENOSPC, errno.EROFS, errno.EDQUOT)
# how a command of ours, or of MONAI's bundles, with or without torchrun, is started: the end of its first word
_COMMANDS = (MONAI_BUNDLE, ("monai_sscm", "__main__.py"), ("monai-sscm",))


def root_cause(error: BaseException) -> BaseException:
    """
    Find the exception that explains another: the first in its chain of causes that this package raised, else the last.

    MONAI wraps an error in a transform or in building a component in several exceptions of its own.

    Args:
        error: exception as it was caught.

    Returns:
        the exception to show.

    Example:
        >>> from monai.transforms import Compose
        >>> from monai_sscm.io import PictureReader
        >>> from monai_sscm.errors import root_cause
        >>> try:
        ...     Compose([PictureReader().get_data])("missing.png")
        ... except RuntimeError as error:
        ...     print(type(error).__name__, "from", root_cause(error))
        RuntimeError from There is no picture 'missing.png': check its name.
    """
    chain = _chain(error)
    return next((e for e in chain if raised_here(e)), chain[-1])


def _chain(error: BaseException) -> list[BaseException]:
    """An exception and all that it came from."""
    chain = [error]
    while True:
        last = chain[-1]
        cause = last.__cause__ or (None if last.__suppress_context__ else last.__context__)
        if cause is None:
            return chain
        chain.append(cause)


def install_error_hook() -> None:
    """
    Print an error that ends this command and that this package foresaw as one line, ``Error: ...``, with no traceback.

    Does nothing unless this process was started as ``monai-sscm``, ``python -m monai_sscm`` or ``python -m
    monai.bundle``: the shipped bundles call it, and a program that runs one of them keeps its own hook. With
    ``MONAI_DEBUG=1`` in the environment the traceback is printed too. Other errors are printed as always.

    Example:
        >>> import sys
        >>> from monai_sscm.errors import install_error_hook
        >>> before = sys.excepthook
        >>> install_error_hook()
        >>> sys.excepthook is before  # this process is no command
        True
    """
    program = Path(sys.argv[0])
    parts = program.parts if program.suffix == ".py" else (program.stem,)  # monai-sscm.exe on Windows
    if any(parts[-len(command) :] == command for command in _COMMANDS):
        sys.excepthook = _print_error
        logging.getLogger("ignite.engine.engine").setLevel(logging.CRITICAL)  # it would say the same before


def _print_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if hasattr(signal, "SIGCHLD"):
        # by it PyTorch would raise, here, for each further worker that is lost
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for thread in threading.enumerate():
        # a process that ends under threads that still load other images would abort, with another exit status
        if thread is not threading.current_thread():
            thread.join(timeout=1)
    for bar in list(getattr(tqdm, "_instances", ())):
        bar.close()  # or it would be wiped off the screen later, after the last line
    cause = root_cause(error)
    foreseen = isinstance(cause, (ValueError, OSError)) and raised_here(cause)
    if isinstance(cause, OSError) and cause.errno == errno.ENAMETOOLONG:  # wherever a path is looked at first
        foreseen, cause = True, OSError(f"The name {str(cause.filename)!r} is too long for a file: check it.")
    if isinstance(cause, OSError) and not foreseen and cause.filename is not None and cause.errno in _OF_FILES:
        foreseen = True
        cause = OSError(
            f"{str(cause.filename)!r} cannot be read or written ({cause.strerror}): check the file, its permissions "
            "and the disk, or name a folder without it."
        )
    told = next((text for e in reversed(_chain(error)) if (text := _from_worker(e))), None)
    told = told if foreseen or told is not None else override_fault(error)
    if not foreseen and told is not None:
        foreseen, cause = True, ValueError(told)
    # PyTorch raises it wherever the process is when a worker ends, in no code of ours
    lost = next((e for e in _chain(error) if isinstance(e, RuntimeError) and _LOST.match(str(e))), None)
    if not foreseen and lost is not None:
        foreseen = True
        cause = OSError(
            f"A process that loads images has ended ({one_line(lost, 200)}), perhaps for want of memory: "
            "use fewer `num_workers`. --resume true goes on from the last checkpoint."
        )
    if not foreseen or _debug():
        sys.__excepthook__(kind, error, trace)
    if foreseen:
        print(f"Error: {cause}", file=sys.stderr)
    _tell_torchrun(f"Error: {cause}" if foreseen else one_line(error))


def override_fault(error: BaseException) -> str | None:
    """
    What to say where a configuration cannot be built, or its first step not be done, and the command line has replaced
    parts of it, or values further down.

    Args:
        error: exception as it was caught.

    Returns:
        a sentence with what was replaced; None where nothing was, where this package foresaw the error, or where it
        came later.
    """
    from ignite.engine import Engine  # not at the top: commands report errors without waiting for it and for MONAI
    from monai.bundle import ConfigParser

    cause = root_cause(error)
    frames = [frame for e in _chain(error) for frame, _ in traceback.walk_tb(e.__traceback__)]
    of_monai = [Path(frame.f_code.co_filename).parts[-3:-1] == ("monai", "bundle") for frame in frames]
    engines = (frame.f_locals.get("self") for frame in frames)
    steps = [engine.state.iteration for engine in engines if isinstance(engine, Engine)]
    foreseen = raised_here(cause) and isinstance(cause, (ValueError, OSError))
    if foreseen or not any(of_monai) or max(steps, default=0) > 1:
        return None
    paths = config_files()
    config = ConfigParser.load_config_files(paths) if paths else {}
    options = {**config.get("options", {}), **config.get("+options", {})}
    words = command_line_words()
    replaced = [f"`--{name} {words[name]}`" for name in other_overrides(options)]
    if not replaced:
        return None
    return (
        f"The configuration does not run with {' and '.join(replaced)} in place of what stands in "
        f"{', '.join(map(repr, paths))} ({type(cause).__name__}: {one_line(cause, 200)}): correct it, or leave it out."
    )


def _from_worker(error: BaseException) -> str | None:
    """
    What this package said in a process that loads images, which comes as the text of a traceback; None where it said
    nothing. Of several in a chain, the text has the first cause first.
    """
    text = str(error)
    if not _IN_WORKER.match(text):
        return None
    said = None
    for block in text.split("Traceback (most recent call last):\n")[1:]:
        frames = re.findall(r'^  File "(.+)", line \d+, in .+$', block, re.MULTILINE)
        raised = re.search(r"^([A-Za-z_.]+): (.+)$", block, re.MULTILINE)
        kind = getattr(builtins, raised[1], None) if raised else None
        foreseen = isinstance(kind, type) and issubclass(kind, (ValueError, OSError))
        if raised and foreseen and frames and frames[-1].startswith(_PACKAGE):
            said = raised[2]
    return said


def _tell_torchrun(text: str) -> None:
    """Leave the last words where torchrun, whose report comes after them, takes them from."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path is None:
        return
    message = {"message": text, "extraInfo": {"py_callstack": text, "timestamp": str(int(time.time()))}}
    with contextlib.suppress(OSError):
        Path(path).write_text(json.dumps({"message": message}), "utf-8")


def _debug() -> bool:
    if "MONAI_DEBUG" not in os.environ:
        return False
    from monai.utils.misc import MONAIEnvVars  # not at the top: commands report errors without waiting for MONAI

    return MONAIEnvVars.debug()


def one_line(error: BaseException, longest: int = 300) -> str:
    """
    The message of an error on one line.

    Args:
        error: the error.
        longest: how many characters are kept.

    Example:
        >>> from monai_sscm.errors import one_line
        >>> one_line(ValueError("two\\n  lines"))
        'two lines'
    """
    return " ".join(str(error).split())[:longest]


def shown(value: Any, longest: int = 200) -> str:
    """
    A value as it was given, for a message: its beginning where it is long.

    Args:
        value: anything.
        longest: how many characters are shown.

    Example:
        >>> from monai_sscm.errors import shown
        >>> shown("a" * 9, longest=4)
        "'aaa..."
    """
    try:
        text = repr(value)
    except Exception:  # of any object, and of numbers of thousands of digits
        text = f"a value of the type {type(value).__name__}"
    return text if len(text) <= longest else f"{text[:longest]}..."


def raised_here(error: BaseException) -> bool:
    """
    Whether this package raised an exception, and so foresaw it.

    Args:
        error: exception as it was caught.

    Example:
        >>> from monai_sscm.bundle import find_bundle
        >>> from monai_sscm.errors import raised_here
        >>> try:
        ...     find_bundle("nothing")
        ... except ValueError as error:
        ...     print(raised_here(error))
        True
    """
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename.startswith(_PACKAGE)


def __getattr__(name: str) -> Any:
    """Tell what to do with a bundle that was copied from version 0.7 or before, whose first expression is this name."""
    if name == "plain_errors":
        raise SystemExit(
            "Error: This bundle was copied from monai_sscm 0.7 or before and does not run with this version: copy it "
            "again by `monai-sscm bundle NAME --to FOLDER`, and set your values at the top of its configs/train.yaml."
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
