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

"""Two ways to do the same, each in a process of its own, in turn: their seconds and their highest memory."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path


def figures_of(script: str, target: Path, rounds: int, threads: int) -> dict[str, list[dict[str, float]]]:
    """Run ``script --one KIND TARGET`` for both kinds in turn, and collect what :py:func:`report` printed there."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
    environment = {**os.environ, **{name: str(threads) for name in names}}
    figures: dict[str, list[dict[str, float]]] = {"ours": [], "bare": []}
    for _ in range(rounds):
        for kind, found in figures.items():
            command = [sys.executable, script, "--one", kind, str(target), "--threads", str(threads)]
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            if done.returncode:
                sys.exit(done.stderr[-3000:])
            found.append(json.loads(done.stdout.splitlines()[-1]))
    return figures


def report(seconds: float) -> None:
    """Print the seconds and this process's highest memory, for ``figures_of``."""
    print(json.dumps({"seconds": seconds, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
