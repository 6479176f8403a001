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
MONAI Deploy's ``MonaiBundleInferenceOperator`` in an application of its own, run by Holoscan: the masks of bundles, as
folders and as TorchScript files, against those of ``monai-sscm predict``. ``deploy.sh`` makes the environment and runs
it.

python benchmarks/hosts/deploy.py --data_dir ../shared/data --work_dir runs/deploy
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch
from monai.bundle import ckpt_export
from monai.deploy.conditions import CountCondition
from monai.deploy.core import AppContext, Application, Fragment, Image, IOType, Operator, OperatorSpec
from monai.deploy.operators.monai_bundle_inference_operator import (
    BundleConfigNames,
    IOMapping,
    MonaiBundleInferenceOperator,
)
from monai.transforms import LoadImage

from monai_sscm.bundle import bundle_names, find_bundle
from monai_sscm.cli.main import main as monai_sscm
from monai_sscm.io import PictureReader, VolumeReader
from monai_sscm.networks import training_settings

sys.path.insert(0, str(Path(__file__).parent))
from monai_label import lowest_dice, read, write_images

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "hosts" / "deploy.json"


class Source(Operator):
    """Sends an image with the metadata that MONAI's transforms go by, as the operator makes them of DICOM's."""

    def __init__(self, fragment: Fragment, *args: Any, path: Path, **kwargs: Any) -> None:
        self.path = path
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        spec.output("image")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        picture = self.path.suffix == ".png"
        reader = PictureReader(palette="colors") if picture else VolumeReader()
        image = LoadImage(reader=reader)(str(self.path))
        meta = {key: value for key, value in image.meta.items() if key != "filename_or_obj"}
        op_output.emit(Image(image.array, metadata=meta), "image")


class Sink(Operator):
    """Keeps the mask."""

    masks: list[np.ndarray] = []

    def setup(self, spec: OperatorSpec) -> None:
        spec.input("pred")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        mask = op_input.receive("pred").asnumpy()
        self.masks.append(mask if mask.ndim == 2 else mask.swapaxes(0, 2))  # slices, rows, columns


class App(Application):
    """Source, bundle, sink."""

    def __init__(self, path: Path, model: Path, configs: list[str]) -> None:
        self.path, self.model, self.configs = path, model, configs
        super().__init__(argv=["app"])

    def compose(self) -> None:
        folder = self.model.is_dir()
        infer = MonaiBundleInferenceOperator(
            self,
            app_context=AppContext({} if folder else {"model": str(self.model)}),
            input_mapping=[IOMapping("image", Image, IOType.IN_MEMORY)],
            output_mapping=[IOMapping("pred", Image, IOType.IN_MEMORY)],
            bundle_path=self.model,
            bundle_config_names=BundleConfigNames(config_names=self.configs),
            name="infer",
        )
        source = Source(self, CountCondition(self, 1), path=self.path, name="source")  # once
        self.add_flow(source, infer, {("image", "image")})
        self.add_flow(infer, Sink(self, name="sink"), {("pred", "pred")})


def export(bundle: Path, folder: Path) -> Path:
    """A bundle as a TorchScript file that needs no other: with how its network sees images."""
    folder.mkdir(parents=True)
    weights = bundle / "models" / "model.pt"
    seen = {"bundle_root": ".", "trained": dict(training_settings(weights))}
    (folder / "trained.json").write_text(json.dumps(seen))
    files = [str(bundle / "configs" / "inference.yaml"), str(folder / "trained.json")]
    meta = str(bundle / "configs" / "metadata.json")
    target = folder / "model.ts"
    ckpt_export("network_def", str(target), str(weights), meta, files, bundle_root=str(bundle))
    return target


def main() -> None:
    """Run all of it, and write what came out."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data_dir", type=Path, required=True)
    parser.add_argument("--work_dir", type=Path, required=True)
    args = parser.parse_args()
    work = args.work_dir.resolve()
    shutil.rmtree(work, ignore_errors=True)
    images = write_images(args.data_dir.resolve(), work)
    bundles = {name: Path(find_bundle(name)) for name in bundle_names()}
    names = {"labels": {"0": "background", "1": "anterior", "2": "posterior"}}
    mr = images["hippocampus_mr_segmentation"]
    for part, files in (("imagesTr", mr["images"]), ("labelsTr", mr["labels"])):
        (work / "mr" / part).mkdir(parents=True)
        for path in files:
            shutil.copyfile(path, work / "mr" / part / path.name)
    (work / "mr" / "dataset.json").write_text(json.dumps(names))
    bundles["planned_mr"] = work / "planned_mr"
    images["planned_mr"] = mr
    short = ["--spacing", "[1.2,1.2,1.2]", "--max_epochs", "1", "--epoch_length", "10", "--device", "cpu"]
    monai_sscm(["train", str(work / "mr"), "--output_dir", str(bundles["planned_mr"]), *short])
    os.chdir(work)
    packages = ("monai", "torch", "numpy", "monai-deploy-app-sdk", "holoscan-cu13")
    report: dict[str, Any] = {"versions": {name: version(name) for name in packages}, "infer": []}
    for name, bundle in bundles.items():
        files = [path for path in images[name]["infer"] if path.suffix != ".jpg"]
        out = work / "masks" / name
        monai_sscm(["predict", *map(str, files), "--model", str(bundle), "--output_dir", str(out), "--device", "cpu"])
        copy = shutil.copytree(bundle, work / "elsewhere" / name, ignore=shutil.ignore_patterns("states", "logs"))
        ways = {
            "folder": (Path(copy), ["inference"]),
            "TorchScript": (export(bundle, work / "exported" / name), ["inference", "trained"]),
        }
        for way, (model, configs) in ways.items():
            for path in files:
                stem = path.name.split(".")[0]
                (mask,) = (p for p in out.iterdir() if p.name.startswith(f"{stem}_seg"))
                Sink.masks.clear()
                App(path, model, configs).run()
                theirs = read(mask)
                theirs = theirs if theirs.ndim == 2 else theirs.transpose()
                row = {"model": name, "as": way, "image": path.name, "foreground": int((theirs > 0).sum())}
                row["lowest_dice_with_predict"] = round(lowest_dice(Sink.masks[0], theirs), 6)
                report["infer"].append(row)
                print(row, flush=True)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    wrong = [row for row in report["infer"] if row["lowest_dice_with_predict"] < 0.995]
    sys.exit(f"{len(wrong)} masks are not those of predict" if wrong else 0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(monai.__version__, flush=True)
    main()
