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
A data set that does not fit into the memory it is allowed: does it train, in how much memory and time?

    python benchmarks/memory.py

Writes large procedural photographs to a temporary folder and trains the shipped configuration on more and more of them,
each time in a new process, with all of them cached and with ``cache_gigabytes`` at a fraction. "Decoded" is what the
images take as the network's input; memory is the process's highest, with Python and all libraries (about 0.5 GB).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from monai_sscm.bundle import find_bundle
from monai_sscm.datasets import write_vessel_phantoms
from monai_sscm.study import markdown_row, markdown_table

RESULTS = Path(__file__).parent / "results" / "memory.jsonl"
SIZE = 1024
STEPS = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[20, 80, 320])
    parser.add_argument("--cache_gigabytes", type=float, nargs="+", default=[1000.0, 0.1])
    args = parser.parse_args()
    rows = []
    print(markdown_table(["images", "decoded, GB", "cache_gigabytes", "memory, GB", "seconds, start included"]))
    with tempfile.TemporaryDirectory() as folder:
        few = Path(folder) / "few"
        write_vessel_phantoms(few, num_train=10, num_val=1, num_test=0, size=SIZE)
        for number in args.images:
            data = Path(folder) / str(number)
            split = {"train": [], "val": ["phantom_11"], "test": []}
            for part in ("images", "labels"):
                (data / part).mkdir(parents=True)
                shutil.copy(few / part / "phantom_11.png", data / part / "phantom_11.png")
                for i in range(number):
                    name = f"photograph_{i:04d}"
                    shutil.copy(few / part / f"phantom_{i % 10 + 1:02d}.png", data / part / f"{name}.png")
                    split["train"] += [name] if part == "images" else []
            (data / "split.json").write_text(json.dumps(split))
            for gigabytes in args.cache_gigabytes:
                values = {"dataset_dir": data, "output_dir": f"{folder}/run", "zoom": 1.0, "cache_gigabytes": gigabytes}
                values |= {"max_epochs": 1, "epoch_length": STEPS, "val_interval": 100, "num_labeled": 2}
                command = [sys.executable, "-m", "monai.bundle", "run", "--config_file"]
                command += [f"{find_bundle('chase_vessel_segmentation')}/configs/train.yaml"]
                command += [part for key, value in values.items() for part in (f"--{key}", str(value))]
                start = time.perf_counter()
                process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                _, status, usage = os.wait4(process.pid, 0)
                assert status == 0, "the training failed"
                row = {"images": number, "decoded_gb": round(number * 3 * SIZE**2 * 4 / 2**30, 2)}
                row |= {"cache_gigabytes": gigabytes, "memory_gb": round(usage.ru_maxrss / 2**20, 2)}
                row |= {"seconds": round(time.perf_counter() - start)}
                rows.append(row)
                print(markdown_row(row.values()), flush=True)
    RESULTS.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
