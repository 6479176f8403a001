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
Time to list large data sets, and to start training on one.

    python benchmarks/lists.py

Writes small pictures into a temporary folder (``TMPDIR`` says where): 20,000 with masks named ``<name>_mask``, in
folders and beside each other; then 10 with masks and 100,000 without. Lists each, and trains the vessel bundle on the
last for one step in a process of its own: ``first_step_s`` is its time from start to end. A line goes to
``results/lists.jsonl``.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from monai_sscm.bundle import find_bundle
from monai_sscm.data import semi_supervised_datalist

RESULTS = Path(__file__).parent / "results" / "lists.jsonl"
SIDE = 128


def png(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


def write(folder: Path, names: list[str], random: np.random.RandomState | None) -> None:
    """Pictures of a vessel-like color, each with a text of its own in it; masks where there is no random state."""
    folder.mkdir(parents=True, exist_ok=True)
    if random is None:
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[40:60] = 1
        content = png(mask)
    else:
        content = png(random.randint(0, 32, (SIDE // 8, SIDE // 8, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8))
    for name in names:
        # behind its end a PNG may have anything
        (folder / f"{name}.png").write_bytes(content + name.encode())


def listed(folder: Path, **kwargs) -> tuple[float, dict[str, int]]:
    start = time.perf_counter()
    parts = semi_supervised_datalist(folder, **kwargs)
    return round(time.perf_counter() - start, 2), {part: len(items) for part, items in parts.items()}


def seconds_to_first_step(folder: Path, output_dir: Path) -> float:
    config = f"{find_bundle('chase_vessel_segmentation')}/configs/train.yaml"
    values = {"dataset_dir": folder, "output_dir": output_dir, "num_labeled": "null", "val_fraction": 0.2}
    values |= {"max_epochs": 1, "epoch_length": 1, "val_interval": 10, "zoom": 1.0}
    words = [word for name, value in values.items() for word in (f"--{name}", str(value))]
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "monai.bundle", "run", "--config_file", config, *words], check=True)
    return round(time.perf_counter() - start, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masked", type=int, default=20_000)
    parser.add_argument("--unlabeled", type=int, default=100_000)
    args = parser.parse_args()
    random = np.random.RandomState(0)
    root = Path(tempfile.mkdtemp())
    row: dict[str, object] = {"masked": args.masked, "unlabeled": args.unlabeled}
    try:
        names = [f"case_{i}_slice_{i % 7}" for i in range(args.masked)]
        write(root / "folders" / "images", names, random)
        write(root / "folders" / "labels", [f"{name}_mask" for name in names], None)
        row["folders_s"], found = listed(root / "folders", val_fraction=0.2)
        assert sum(found.values()) == args.masked, found
        shutil.move(root / "folders" / "images", root / "beside")
        for file in (root / "folders" / "labels").iterdir():
            file.rename(root / "beside" / file.name)
        row["beside_s"], found = listed(root / "beside")
        assert found["labeled"] == args.masked, found

        names = [f"labeled_{i}" for i in range(10)]
        write(root / "large" / "images", names, random)
        write(root / "large" / "labels", names, None)
        write(root / "large" / "unlabeled_images", [f"scan_{i}" for i in range(args.unlabeled)], random)
        row["unlabeled_s"], found = listed(root / "large", val_fraction=0.2)
        assert found["unlabeled"] == args.unlabeled, found
        row["first_step_s"] = seconds_to_first_step(root / "large", root / "run")
    finally:
        shutil.rmtree(root)
    print(json.dumps(row))
    with RESULTS.open("a") as results:
        results.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
