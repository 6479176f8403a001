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

"""
What the options of PyTorch that promise speed do to a SupMix step here, in turn with the plain step in one process.

    python benchmarks/options.py [--device cuda]

Every option is given to the trainer, the network or the optimizer as a user would give it. Figures are medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from step import SETTINGS, make

from monai_sscm.study import markdown_row, markdown_table

RESULTS = Path(__file__).parent / "results" / "options.jsonl"


def options(spatial_dims: int) -> dict[str, dict[str, Any]]:
    last = {"memory_format": torch.channels_last if spatial_dims == 2 else torch.channels_last_3d}
    return {
        "plain": {},
        "channels-last": {"network_kwargs": last},
        "bfloat16": {"amp": True, "amp_kwargs": {"dtype": torch.bfloat16}},
        "for-loop optimizer": {"optimizer_kwargs": {"foreach": False}},
        "foreach optimizer": {"optimizer_kwargs": {"foreach": True}},
        "fused optimizer": {"optimizer_kwargs": {"fused": True}},
        # with shapes that may change, inductor fails on a 3D network after a 2D one
        "torch.compile": {"compile": True, "compile_kwargs": {"dynamic": False}},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8, help="rounds of four steps of each")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    print(markdown_table(["setting", "option", "ms", "in plain steps"]))
    for name, setting in SETTINGS.items():
        trainers = {o: make("supmix", setting, device=args.device, **k)[0] for o, k in options(setting[0]).items()}
        times: dict[str, list[float]] = {option: [] for option in trainers}
        for _ in range(args.rounds + 1):
            for option, trainer in trainers.items():
                trainer.state.max_epochs += 1
                start = time.perf_counter()
                trainer.run()
                if args.device != "cpu":
                    torch.cuda.synchronize()
                times[option].append((time.perf_counter() - start) / 4)
        for option, seconds in times.items():
            ratio = statistics.median(a / b for a, b in zip(seconds[1:], times["plain"][1:], strict=True))
            row = {"setting": name, "option": option, "device": args.device, "threads": args.threads}
            row |= {"ms": round(1e3 * statistics.median(seconds[1:]), 1), "ratio": round(ratio, 3)}
            rows.append(row)
            print(markdown_row([name, option, row["ms"], row["ratio"]]), flush=True)
    RESULTS.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
