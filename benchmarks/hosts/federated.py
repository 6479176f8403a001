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
A client of a federation, MONAI's ``MonaiAlgo``, scores the shipped hippocampus network on real volumes in three
orientations, and is held against the masks that ``monai-sscm predict`` writes of the same files.

    python benchmarks/hosts/federated.py --data ../shared/data --output benchmarks/results/hosts/federated.json
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import warnings
from pathlib import Path

import monai
import nibabel as nib
import numpy as np
import torch
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems
from monai.fl.utils.exchange_object import ExchangeObject

from monai_sscm.bundle import find_bundle
from monai_sscm.cli.main import main as monai_sscm

NAME = "hippocampus_mr_segmentation"
ORIENTATIONS = ("LPS", "RAS", "PIR")
FILES = ["configs/train.yaml", "configs/federated.yaml"]


def write_data(source: Path, folder: Path, count: int) -> list[str]:
    """Volumes, each in every orientation, that validate, and two to train on; returns the names of the first."""
    names: dict[str, list[str]] = {"train": [], "val": []}
    volumes = sorted(source.glob("imagesTr/[!.]*.nii.gz"))[: count + 2]
    for i, path in enumerate(volumes):
        for codes in ORIENTATIONS if i < count else ("RAS",):
            name = f"{path.name.removesuffix('.nii.gz')}_{codes}"
            names["val" if i < count else "train"].append(name)
            for part, to in (("imagesTr", "images"), ("labelsTr", "labels")):
                volume = nib.load(source / part / path.name)
                now, wanted = nib.io_orientation(volume.affine), nib.orientations.axcodes2ornt(tuple(codes))
                (folder / to).mkdir(parents=True, exist_ok=True)
                turned = volume.as_reoriented(nib.orientations.ornt_transform(now, wanted))
                nib.save(turned, folder / to / f"{name}.nii.gz")
    (folder / "split.json").write_text(json.dumps(names))
    return names["val"]


def dice_of_masks(masks: Path, labels: Path, names: list[str]) -> list[float]:
    """Dice of each class over all voxels of all files."""
    counts = np.zeros((2, 3))
    for name in names:
        mask, label = (
            np.asarray(nib.load(path).dataobj) for path in (masks / f"{name}_seg.nii.gz", labels / f"{name}.nii.gz")
        )
        for c in (1, 2):
            counts[c - 1] += ((mask == c) & (label == c)).sum(), (mask == c).sum(), (label == c).sum()
    return [float(2 * both / (a + b)) for both, a, b in counts]


def main() -> None:
    """Score by both, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--volumes", type=int, default=3)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as work:
        root = Path(work)
        names = write_data(arguments.data / "hippocampus", root / "data", arguments.volumes)
        (root / "input").mkdir()
        for name in names:
            shutil.copy(root / "data" / "images" / f"{name}.nii.gz", root / "input")
        monai_sscm(["predict", str(root / "input"), "--model", NAME, "--output_dir", str(root / "masks")])

        # a client with a bundle of its own, without weights: those of the server are the shipped ones
        bundle = root / "bundle"
        shutil.copytree(find_bundle(NAME), bundle, ignore=shutil.ignore_patterns("models"))
        settings = json.loads((Path(find_bundle(NAME)) / "models" / "settings.json").read_text())
        values = {key: settings[key] for key in ("spacing", "patch_size", "channels", "strides", "intensity_range")}
        values |= {"dataset_dir": str(root / "data"), "device": "cpu", "num_labeled": None}
        client = MonaiAlgo(
            str(bundle),
            config_train_filename=None,
            config_evaluate_filename=FILES,
            eval_kwargs=values,
        )
        client.initialize({ExtraItems.CLIENT_NAME: "client"})
        weights = torch.load(f"{find_bundle(NAME)}/models/model.pt", weights_only=True)
        metrics = client.evaluate(ExchangeObject(weights=weights)).metrics
        found = [metrics["dice_anterior"], metrics["dice_posterior"]]
        expected = dice_of_masks(root / "masks", root / "data" / "labels", names)
    result = {"monai": monai.__version__, "files": names, "monai_algo": found, "predict": expected}
    result["largest_difference"] = max(abs(a - b) for a, b in zip(found, expected, strict=True))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    print(f"Dice: MonaiAlgo {found}, predict {expected}; largest difference {result['largest_difference']:.5f}")


if __name__ == "__main__":
    main()
