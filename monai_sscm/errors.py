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

import ast
import difflib
import errno
import inspect
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from monai.bundle import ConfigParser, run
from monai.utils.misc import MONAIEnvVars
from tqdm import tqdm

__all__ = ["check_options", "is_ours", "plain_errors", "reason"]

_PACKAGE = str(Path(__file__).parent) + os.sep


def reason(error: BaseException) -> BaseException:
    """
    What an exception comes down to: the first in its chain of causes that this package raised, else the last.

    MONAI wraps what happens in a transform or in building a component into exceptions of its own, one around the other.

    Args:
        error: exception as it was caught.

    Example:
        >>> from monai.transforms import Compose
        >>> from monai_sscm.data import PictureReader
        >>> from monai_sscm.errors import reason
        >>> try:
        ...     Compose([PictureReader().get_data])("missing.png")
        ... except RuntimeError as error:
        ...     print(type(error).__name__, "from", reason(error))
        RuntimeError from There is no picture 'missing.png': check its name.
    """
    chain = _chain(error)
    return next((e for e in chain if is_ours(e)), chain[-1])


def _chain(error: BaseException) -> list[BaseException]:
    """An exception and all that it came from."""
    chain = [error]
    while True:
        last = chain[-1]
        cause = last.__cause__ or (None if last.__suppress_context__ else last.__context__)
        if cause is None:
            return chain
        chain.append(cause)


def plain_errors() -> None:
    """
    From now on, let an error that ends the process and that this package foresaw print its sentence, and no traceback.

    For the bundles, whose users type commands; with ``MONAI_DEBUG=1`` in the environment the traceback is printed too.
    Other errors are printed as always.
    """
    sys.excepthook = _print_error


def check_options(argv: Sequence[str] | None = None) -> None:
    """
    Refuse an option of ``python -m monai.bundle run`` that the configuration has no value for, such as a misspelt one,
    which MONAI takes, and which has no effect.

    Args:
        argv: the command line; None: this process's. That of another program passes.

    Raises:
        ValueError: when there is such an option. One that another option refers to (``@name``) is none.
    """
    argv = sys.argv if argv is None else argv
    if Path(argv[0]).parts[-3:] != ("monai", "bundle", "__main__.py"):
        return
    options: dict[str, str] = {}
    for word, following in zip(argv, [*argv[1:], ""], strict=True):
        if match := re.fullmatch(r"--([A-Za-z][^=]*)(?:=(.*))?", word, re.DOTALL):
            options[match[1].replace("-", "_")] = following if match[2] is None else match[2]
    files = options.get("config_file")
    if not files:  # in MONAI's `args_file`, or left out
        return
    known = set(inspect.signature(run).parameters)
    known |= set(ConfigParser.load_config_files(ast.literal_eval(files) if files.startswith("[") else files))
    for option in options:
        name = re.split("::|#", option)[0]
        if name not in known and not any(f"@{name}" in word for word in argv):
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean `--{near[0]}`?" if near else "its values stand at the top of the file."
            raise ValueError(f"There is no `{name}` in {files}: {hint}")


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
    cause = reason(error)
    foreseen = isinstance(cause, (ValueError, OSError)) and is_ours(cause)
    if isinstance(cause, OSError) and cause.errno == errno.ENAMETOOLONG:  # wherever a path is looked at first
        foreseen, cause = True, OSError(f"The name {str(cause.filename)!r} is too long for a file: check it.")
    # PyTorch raises it wherever the process is when a worker ends, in no code of ours
    lost = next((e for e in _chain(error) if isinstance(e, RuntimeError) and "DataLoader worker" in str(e)), None)
    if not foreseen and lost is not None:
        foreseen = True
        cause = OSError(
            f"A process that loads images has ended ({' '.join(str(lost).split())[:200]}), perhaps for want of memory: "
            "use fewer `num_workers`. --resume true goes on from the last checkpoint."
        )
    if not foreseen or MONAIEnvVars.debug():
        sys.__excepthook__(kind, error, trace)
    if foreseen:
        print(f"Error: {cause}", file=sys.stderr)


def is_ours(error: BaseException) -> bool:
    """Whether this package raised an exception, and so foresaw it."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename.startswith(_PACKAGE)
