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
Whether two versions of the package train the same weights, bit for bit: each method of each bundle, some steps.

``git worktree add ../v070 0a35b15 && python benchmarks/same_weights.py --old ../v070`` compares with version 0.7.0.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from monai_sscm.datasets import write_chest_phantoms, write_vessel_phantoms
from monai_sscm.methods import METHODS

HERE = Path(__file__).parents[1]
#: what makes a training on phantoms small
SMALL = {
    "chase_vessel_segmentation": ["--zoom", "1.0", "--num_labeled", "2"],
    "covid19_ct_segmentation": ["--num_labeled", "2", "--size", "[64,64]"],
}


def train(root: Path, bundle: str, method: str, data: Path, output_dir: Path, steps: int) -> dict[str, torch.Tensor]:
    """Train by the bundle's command; the student's and the teacher's weights."""
    configs = root / "bundles" / bundle / "configs"
    files = [configs / "train.yaml"]
    options = [*SMALL[bundle], "--patch_size", "[32,32]", "--max_epochs", "2", "--epoch_length", str(steps // 2)]
    options += ["--val_interval", "2"]
    if method not in ("mean_teacher", "bcp"):  # which have a ramp or a threshold of their own
        options += ["--rampup_steps", str(steps // 2), "--confidence_threshold", "0.6"]
    if (configs / "classmix.yaml").is_file():  # before 0.8.0 a method was a file
        files += [] if method == "supmix_sufd" else [configs / f"{method}.yaml"]
    else:
        options += ["--method", method]
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str([str(file) for file in files])]
    command += ["--dataset_dir", str(data), "--output_dir", str(output_dir), *options]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=output_dir.parent, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    last = next(path for path in (output_dir / "states" / "last.pt", output_dir / "last.pt") if path.is_file())
    state = torch.load(last, weights_only=True)
    return {f"{who} {name}": value for who in ("student", "teacher") for name, value in state[who].items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--old", type=Path, required=True, help="checkout of the other version")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--bundles", nargs="+", default=list(SMALL))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    arguments = parser.parse_args()
    different = 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_vessel_phantoms(root / "chase_vessel_segmentation", num_train=6, num_val=1, num_test=0, size=64)
        write_chest_phantoms(root / "covid19_ct_segmentation", num_train=6, num_val=1, num_test=0, size=64)
        for bundle in arguments.bundles:
            for method in arguments.methods:
                old, new = (
                    train(
                        version.resolve(),
                        bundle,
                        method,
                        root / bundle,
                        root / f"{bundle}_{method}_{name}",
                        arguments.steps,
                    )
                    for name, version in (("old", arguments.old), ("new", HERE))
                )
                apart = [name for name in old if name not in new or not torch.equal(old[name], new[name])]
                different += bool(apart)
                result = f"{len(apart)} of {len(old)} tensors differ" if apart else "the same, bit for bit"
                print(f"{bundle} {method}: {result}", flush=True)
    sys.exit(different > 0)


if __name__ == "__main__":
    main()
