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
The shipped networks as ONNX, run by onnxruntime, and as TorchScript, against PyTorch: logits at three sizes and two
batch sizes of real images, and masks of whole files by the bundle's own inference, with the exported network in it.

MONAI exports: ``onnx_export`` and ``ckpt_export``. Needs ``pip install onnx onnxruntime``; writes a line a bundle.

    python benchmarks/hosts/exported.py --data ../shared/data --output benchmarks/results/hosts/exported.jsonl
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from federated import write_data
from monai.bundle import ConfigWorkflow, ckpt_export, onnx_export
from monai.transforms import LoadImage
from monai.utils import convert_to_numpy
from torch import nn

from monai_sscm.bundle import find_bundle

#: bundle: its data, how many files, sizes of crops, and what they are multiples of
CASES: dict[str, dict[str, Any]] = {
    "chase_vessel_segmentation": {
        "files": ("chase_db1/images/*.jpg", 1),
        "sizes": [(128, 128), (192, 256), (320, 304)],
        "multiple": 16,
    },
    "covid19_ct_segmentation": {
        "files": ("covid19_ct/images/*", 2),
        "sizes": [(128, 128), (256, 192), (304, 320)],
        "multiple": 16,
    },
    "hippocampus_mr_segmentation": {
        "files": None,  # one volume in three orientations
        "sizes": [(32, 48, 32), (40, 40, 40), (24, 56, 32)],
        "multiple": 4,
    },
}


class OnnxNetwork(nn.Module):
    """An ONNX file in the place of a network."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.session.run(None, {"image": convert_to_numpy(x)})[0])


def export(name: str, folder: Path) -> dict[str, Path]:
    """Both exports of a bundle, by MONAI."""
    root = find_bundle(name)
    arguments: dict[str, Any] = {
        "ckpt_file": f"{root}/models/model.pt",
        "meta_file": f"{root}/configs/metadata.json",
        "config_file": f"{root}/configs/inference.yaml",
        "bundle_root": root,
    }
    dims = len(CASES[name]["sizes"][0])
    axes = {0: "batch", **{2 + i: f"size_{i}" for i in range(dims)}}
    names = {"input_names": ["image"], "output_names": ["pred"]}
    paths = {"onnx": folder / f"{name}.onnx", "torchscript": folder / f"{name}.ts"}
    kwargs = {**names, "dynamic_axes": {"image": axes, "pred": axes}, "dynamo": False}
    onnx_export("network_def", filepath=paths["onnx"], use_trace=True, converter_kwargs=kwargs, **arguments)
    ckpt_export("network_def", filepath=paths["torchscript"], **arguments)
    return paths


def load(kind: str, path: Path) -> nn.Module:
    """An exported network."""
    return OnnxNetwork(path) if kind == "onnx" else torch.jit.load(str(path))


def run(name: str, files: list[str], folder: Path, network: nn.Module | None = None) -> ConfigWorkflow:
    """The bundle's inference on files, with another network or its own."""
    config = f"{find_bundle(name)}/configs/inference.yaml"
    values: dict[str, Any] = {"input": files, "output_dir": str(folder), "save_overlays": False, "device": "cpu"}
    if network is not None:
        # its weights are in it
        values |= {"network": network, "run": ["$@evaluator.run()"]}
    workflow = ConfigWorkflow(
        config, workflow_type="infer", logging_file=False, bundle_root=find_bundle(name), **values
    )
    workflow.initialize()
    workflow.run()
    return workflow


def crops(workflow: ConfigWorkflow, size: tuple[int, ...], batch: int) -> torch.Tensor:
    """Crops of the first image around its middle, as the network sees it, in [0, 1]; those of a batch are shifted."""
    image = next(iter(workflow.parser.get_parsed_content("dataset")))["image"].as_tensor().float()
    low, high = torch.quantile(image.flatten()[:: max(1, image.numel() // 100_000)], torch.tensor([0.01, 0.99]))
    image = ((image - low) / (high - low)).clamp(0, 1)
    if image.ndim > len(size) + 1:  # a volume that the network sees slice by slice
        image = image[..., image.shape[-1] // 2]
    missing = [max(0, n + batch - s) for n, s in zip(size, image.shape[1:], strict=True)]
    image = nn.functional.pad(image, [x for n in reversed(missing) for x in (0, n)])
    starts = [(s - n - batch) // 2 for n, s in zip(size, image.shape[1:], strict=True)]
    windows = [[slice(a + i, a + i + n) for a, n in zip(starts, size, strict=True)] for i in range(batch)]
    return torch.stack([image[(slice(None), *window)] for window in windows])


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """The least Dice over the classes of either mask; of identical masks 1."""
    labels = (set(np.unique(a).tolist()) | set(np.unique(b).tolist())) - {0}
    return min((2 * ((a == c) & (b == c)).sum() / ((a == c).sum() + (b == c).sum()) for c in labels), default=1.0)


def masks(folder: Path) -> dict[str, np.ndarray]:
    """Masks by their files' names."""
    return {path.name: LoadImage(image_only=True)(path).numpy() for path in sorted(folder.glob("*_seg.*"))}


def compare(name: str, files: list[str], folder: Path) -> dict[str, Any]:
    """All figures of a bundle."""
    paths = export(name, folder)
    own = run(name, files, folder / "own")
    network = own.parser.get_parsed_content("network").eval()
    expected = masks(folder / "own")
    result: dict[str, Any] = {"bundle": name, "files": [Path(file).name for file in files]}
    result |= {"multiple": CASES[name]["multiple"]}
    for kind, path in paths.items():
        exported = load(kind, path)
        rows = []
        for size in CASES[name]["sizes"]:
            for batch in (1, 3):
                x = crops(own, size, batch)
                with torch.inference_mode():
                    a, b = network(x), exported(x)
                rows.append(
                    {
                        "shape": list(x.shape),
                        "largest_difference": float((a - b).abs().max()),
                        "largest_logit": float(a.abs().max()),
                        "other_classes": float((a.argmax(1) != b.argmax(1)).float().mean()),
                    }
                )
        run(name, files, folder / kind, exported)
        found = masks(folder / kind)
        assert expected.keys() == found.keys() and len(found) == len(files)
        result[kind] = {
            "megabytes": round(path.stat().st_size / 1e6, 2),
            "logits": rows,
            "least_dice_of_masks": {key: dice(mask, found[key]) for key, mask in expected.items()},
        }
    return result


def main() -> None:
    """Compare, and write a line a bundle."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    versions = {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__}
    with open(arguments.output, "w") as file:
        for name, case in CASES.items():
            with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
                if case["files"] is None:
                    names = write_data(arguments.data / "hippocampus", Path(folder) / "data", count=1)
                    files = [Path(folder) / "data" / "images" / f"{file}.nii.gz" for file in names]
                else:
                    pattern, count = case["files"]
                    files = sorted(arguments.data.glob(pattern))[:count]
                result = compare(name, [str(path) for path in files], Path(folder))
            file.write(json.dumps({**versions, **result}) + "\n")
            file.flush()
            for kind in ("onnx", "torchscript"):
                logits = result[kind]["logits"]
                print(
                    f"{name}, {kind}: logits differ by {max(row['largest_difference'] for row in logits):.1e} at most, "
                    f"least Dice of masks {min(result[kind]['least_dice_of_masks'].values()):.5f}"
                )


if __name__ == "__main__":
    main()
