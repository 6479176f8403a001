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
Time and peak memory of segmenting photographs, beside the bare network over the same windows.

    python benchmarks/photographs.py

For each number of photographs, of the size of CHASE_DB1's, two processes take turns: the bundle's inference, from the
files to the masks' files, and a bare loop that reads the same files with Pillow, runs the network on the same windows
and keeps nothing. Figures are seconds without imports and loading weights, and the highest memory of the process,
imports and all. They go to ``results/photographs.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from in_turn import figures_of, report
from monai.bundle import ConfigWorkflow
from monai.data.utils import dense_patch_slices
from PIL import Image

from monai_sscm.bundle import find_bundle
from monai_sscm.datasets import vessel_phantom
from monai_sscm.networks import load_weights
from monai_sscm.study import markdown_row, markdown_table

RESULTS = Path(__file__).resolve().parent / "results" / "photographs.jsonl"


def workflow(folder: Path, output_dir: Path) -> ConfigWorkflow:
    bundle = find_bundle("chase_vessel_segmentation")
    values = {"input": str(folder), "output_dir": str(output_dir), "bundle_root": bundle, "device": torch.device("cpu")}
    run = ConfigWorkflow(f"{bundle}/configs/inference.yaml", workflow_type="infer", logging_file=False, **values)
    run.initialize()
    load_weights(run.parser.get_parsed_content("network"), run.parser.get_parsed_content("checkpoint"))
    return run


def ours(folder: Path, output_dir: Path) -> float:
    evaluator = workflow(folder, output_dir).parser.get_parsed_content("evaluator")
    start = time.perf_counter()
    evaluator.run()
    return time.perf_counter() - start


@torch.no_grad()
def bare(folder: Path, output_dir: Path) -> float:
    run = workflow(folder, output_dir)
    network, patch, batch, overlap = (
        run.parser.get_parsed_content(name) for name in ("network", "patch_size", "sw_batch_size", "overlap")
    )
    network.eval()
    start = time.perf_counter()
    for path in sorted(folder.iterdir()):
        with Image.open(path) as picture:
            image = torch.as_tensor(np.array(picture)).permute(2, 0, 1)[None].float()
        image = (image - image.mean((2, 3), keepdim=True)) / image.std((2, 3), keepdim=True)
        where = dense_patch_slices(image.shape[2:], patch, [int(p * (1 - overlap)) for p in patch])
        windows = torch.cat([image[(slice(None), slice(None), *w)] for w in where])
        for w in windows.split(batch):
            network(w)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", nargs="*", type=int, default=[5, 20, 40])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--one", nargs=2, metavar=("KIND", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as temporary:
        if args.one:
            report({"ours": ours, "bare": bare}[args.one[0]](Path(args.one[1]), Path(temporary) / "out"))
            return
        picture = Image.fromarray(vessel_phantom(999, 0)[0][:960])
        print(markdown_table(["photographs", "ours, s", "bare, s", "ratio", "ours, MiB", "bare, MiB", "ratio"]))
        for number in args.photographs:
            folder = Path(temporary) / str(number)
            folder.mkdir()
            for i in range(number):
                picture.save(folder / f"{i:04d}.jpg")
            figures = figures_of(__file__, folder, args.rounds, args.threads)
            time_ratio = median(a["seconds"] / b["seconds"] for a, b in zip(*figures.values(), strict=True))
            a, b = (
                {key: median(f[key] for f in figures[k]) for key in ("seconds", "peak_mib")} for k in ("ours", "bare")
            )
            cells = [f"{a['seconds']:.1f}", f"{b['seconds']:.1f}", f"{time_ratio:.2f}"]
            cells += [f"{a['peak_mib']:.0f}", f"{b['peak_mib']:.0f}", f"{a['peak_mib'] / b['peak_mib']:.2f}"]
            print(markdown_row([number, *cells]), flush=True)
            with open(RESULTS, "a") as file:
                file.write(json.dumps({"photographs": number, "threads": args.threads, **figures}) + "\n")


if __name__ == "__main__":
    main()
