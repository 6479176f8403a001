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
Time and peak memory of segmenting CT scans, beside the bare network over the same windows.

    python benchmarks/slabs.py

For each length of scan two processes take turns: the bundle's inference, from the scan's file to the mask's, findings
and overlay, and a bare loop that reads the same file with SimpleITK, cuts the same windows out of its slices, runs the
network on them, and keeps nothing but its largest class. Figures are seconds without imports and loading weights, and
the highest memory of the process, imports and all. They go to ``results/slabs.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import SimpleITK as sitk
import torch
from in_turn import figures_of, report
from monai.bundle import ConfigWorkflow
from torch.nn.functional import interpolate

from monai_sscm.bundle import find_bundle
from monai_sscm.datasets import chest_phantom
from monai_sscm.networks import load_weights
from monai_sscm.study import markdown_row, markdown_table
from monai_sscm.transforms import LUNG_WINDOW, lung_box

RESULTS = Path(__file__).resolve().parent / "results" / "slabs.jsonl"


def write_scan(path: Path, num_slices: int) -> None:
    """A phantom of 512 x 512 x num_slices, a slice of which is repeated so that making it takes no memory itself."""
    scan, _ = chest_phantom(512, 4, 0)
    order = [k % 4 for k in range(num_slices)]
    image = sitk.GetImageFromArray(scan[..., order].transpose())
    image.SetSpacing((0.7, 0.7, 1.0))
    sitk.WriteImage(image, str(path), useCompression=False)


def workflow(path: Path, output_dir: Path) -> ConfigWorkflow:
    bundle = find_bundle("covid19_ct_segmentation")
    values = {"input": str(path), "output_dir": str(output_dir), "bundle_root": bundle, "device": torch.device("cpu")}
    run = ConfigWorkflow(f"{bundle}/configs/inference.yaml", workflow_type="infer", logging_file=False, **values)
    run.initialize()
    return run


def ours(path: Path, output_dir: Path) -> float:
    run = workflow(path, output_dir)
    load_weights(run.parser.get_parsed_content("network"), run.parser.get_parsed_content("checkpoint"))
    evaluator = run.parser.get_parsed_content("evaluator")
    start = time.perf_counter()
    evaluator.run()
    return time.perf_counter() - start


@torch.no_grad()
def bare(path: Path, output_dir: Path) -> float:
    run = workflow(path, output_dir)
    network, size, patch, slab, batch = (
        run.parser.get_parsed_content(name) for name in ("network", "size", "patch_size", "slab", "sw_batch_size")
    )
    load_weights(network, run.parser.get_parsed_content("checkpoint"))
    network.eval()
    start = time.perf_counter()
    scan = torch.as_tensor(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))
    x, y, z = lung_box(scan.permute(2, 1, 0).numpy())
    low, high = LUNG_WINDOW
    mask = torch.zeros(scan.shape, dtype=torch.uint8)
    for k in range(z.start, z.stop, slab):
        part = scan[k : min(k + slab, z.stop), y, x]
        slices = interpolate(((part.float() - low) / (high - low)).clamp(0, 1)[:, None], size, mode="bilinear")
        # windows that overlap by half, as the bundle's sliding window cuts them
        windows = slices.unfold(2, patch[0], patch[0] // 2).unfold(3, patch[1], patch[1] // 2)
        windows = windows.reshape(-1, 1, *patch)
        found = torch.cat([network(w).argmax(1).to(torch.uint8) for w in windows.split(batch)])
        mask[k : k + len(part), : patch[0], : patch[1]] = found.view(len(part), -1, *patch)[:, 0]
    assert mask.any()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", nargs="*", type=int, default=[50, 200, 400])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--one", nargs=2, metavar=("KIND", "SCAN"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as temporary:
        if args.one:
            report({"ours": ours, "bare": bare}[args.one[0]](Path(args.one[1]), Path(temporary) / "out"))
            return
        print(markdown_table(["slices", "ours, s", "bare, s", "ratio", "ours, MiB", "bare, MiB", "ratio"]))
        for num_slices in args.slices:
            path = Path(temporary) / f"{num_slices}.mha"
            write_scan(path, num_slices)
            figures = figures_of(__file__, path, args.rounds, args.threads)
            path.unlink()
            a, b = (
                {key: median(f[key] for f in figures[k]) for key in ("seconds", "peak_mib")} for k in ("ours", "bare")
            )
            ratios = np.array([a[key] / b[key] for key in ("seconds", "peak_mib")]).round(2).tolist()
            cells = [f"{a['seconds']:.1f}", f"{b['seconds']:.1f}", ratios[0]]
            cells += [f"{a['peak_mib']:.0f}", f"{b['peak_mib']:.0f}", ratios[1]]
            print(markdown_row([num_slices, *cells]), flush=True)
            with open(RESULTS, "a") as file:
                file.write(json.dumps({"slices": num_slices, "threads": args.threads, **figures}) + "\n")


if __name__ == "__main__":
    main()
