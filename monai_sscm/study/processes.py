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

"""The commands of a bundle, each in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess  # nosec B404
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["BundleCommands", "exit_on_signals"]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")


class BundleCommands:
    """
    Run ``python -m monai.bundle run`` from several threads, and stop all of it at once.

    Args:
        threads: of each process.
    """

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads
        self.stopped = False
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[bytes]] = set()

    def run(self, configs: Sequence[Path], values: Mapping[str, Any], log_file: Path) -> int | None:
        """
        Run configurations, one on top of the other, and wait for the end.

        Args:
            configs: their files.
            values: values that replace theirs.
            log_file: where to append what is printed.

        Returns:
            the largest memory of the process in MB; None where the system does not say it.

        Raises:
            CalledProcessError: when the process fails or :py:meth:`stop` was called.
        """
        command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str([str(path) for path in configs])]
        for key, value in values.items():
            command += [f"--{key}", str(value)]
        environment = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(self.threads))}
        with open(log_file, "a") as log:
            with self._lock:
                if self.stopped:
                    raise subprocess.CalledProcessError(-signal.SIGTERM, "monai.bundle run")
                # no shell: a list of arguments, MONAI's command line and what the user asked for
                # a session of its own: Ctrl-C in a terminal reaches us alone, and a training is signaled once
                process = subprocess.Popen(  # nosec B603
                    command, stdout=log, stderr=log, env=environment, start_new_session=True
                )
                self._processes.add(process)
            memory = None
            if sys.platform != "win32":
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                memory = round(usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2))
            process.wait()
            self._processes.discard(process)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, "monai.bundle run")
        return memory

    def stop(self) -> None:
        """Signal every process to save its checkpoint and to end, and start no further one."""
        with self._lock:
            self.stopped = True
            for process in self._processes:
                process.terminate()


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Raise ``SystemExit`` on SIGTERM and SIGHUP, as Ctrl-C raises, or started processes would be left running."""
    signals = [signal.SIGTERM]
    if sys.platform != "win32":
        signals.append(signal.SIGHUP)  # of a terminal that is closed; left alone where it is ignored, as under nohup
    if threading.current_thread() is not threading.main_thread():
        signals = []  # only the main thread may set handlers
    before = {s: signal.signal(s, _exit_on_signal) for s in signals if signal.getsignal(s) != signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit_on_signal(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
