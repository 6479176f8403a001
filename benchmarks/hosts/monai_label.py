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
MONAI Label with the app in ``apps/monailabel``, in this process: masks against those of ``monai-sscm predict``, and
trainings on annotated and other images. ``monai_label.sh`` makes the environment and runs it.

python benchmarks/hosts/monai_label.py --data_dir ../shared/data --work_dir runs/monailabel
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from PIL import Image

from monai_sscm.bundle import copy_bundle, find_bundle
from monai_sscm.cli.main import main as monai_sscm
from monai_sscm.datasets import write_chest_phantoms
from monai_sscm.templates import set_values

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "hosts" / "monai_label.json"
CODES = ("LPS", "RAS", "PIR")
STEPS = 2  # of an epoch


def read(path: str | Path) -> np.ndarray:
    """Class indices in a file; a palette's indices, not its colors."""
    if str(path).endswith(".png"):
        with Image.open(path) as picture:
            assert picture.mode in ("P", "L")
            return np.array(picture)
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def lowest_dice(a: np.ndarray, b: np.ndarray) -> float:
    """Of the classes that one of two masks has."""
    assert a.shape == b.shape
    classes = [c for c in np.union1d(a, b) if c > 0]
    return min((2 * ((a == c) & (b == c)).sum() / ((a == c).sum() + (b == c).sum()) for c in classes), default=1.0)


def oriented(volume: Path, folder: Path) -> list[Path]:
    """A volume, stored in three ways."""
    folder.mkdir(parents=True, exist_ok=True)
    image = sitk.ReadImage(str(volume))
    paths = [folder / f"{volume.name.split('.')[0]}_{code}.nii.gz" for code in CODES]
    for code, path in zip(CODES, paths, strict=True):
        sitk.WriteImage(sitk.DICOMOrient(image, code), str(path))
    return paths


def write_images(data: Path, work: Path) -> dict[str, dict[str, list[Path]]]:
    """For each bundle what is segmented, and images with and without annotations to train on."""
    chest = work / "chest"
    write_chest_phantoms(chest, num_train=5, num_val=1, num_test=1, size=96, num_slices=6)
    (work / "photographs").mkdir(parents=True)
    photographs = [work / "photographs" / f"Image_{name}.png" for name in ("01L", "01R", "02L", "02R")]
    for path in photographs:
        with Image.open(data / "chase_db1" / "images" / f"{path.stem}.jpg") as picture:
            picture.save(path)
    mr = sorted((data / "hippocampus" / "imagesTr").glob("*.nii.gz"))[:6]
    ct = sorted((chest / "images").iterdir())
    slices = sorted((data / "covid19_ct" / "images").glob("1*.jpg"))[:1]
    label = {
        "chase_vessel_segmentation": lambda p: next((data / "chase_db1" / "labels").glob(f"{p.stem}*")),
        "covid19_ct_segmentation": lambda p: chest / "labels" / p.name,
        "hippocampus_mr_segmentation": lambda p: data / "hippocampus" / "labelsTr" / p.name,
    }
    images = {
        "chase_vessel_segmentation": photographs,
        "covid19_ct_segmentation": ct[:5],
        "hippocampus_mr_segmentation": mr,
    }
    segmented = {
        "chase_vessel_segmentation": photographs[:1],
        "covid19_ct_segmentation": oriented(ct[-1], work / "oriented") + slices,
        "hippocampus_mr_segmentation": oriented(mr[0], work / "oriented"),
    }
    return {
        name: {"images": images[name], "labels": [label[name](path) for path in images[name][:2]], "infer": files}
        for name, files in segmented.items()
    }


def studies(folder: Path, images: list[Path], labels: list[Path]) -> str:
    """A folder as MONAI Label keeps it: images, and final annotations of the first of them."""
    (folder / "labels" / "final").mkdir(parents=True)
    for path in images:
        shutil.copyfile(path, folder / path.name)
    for image, path in zip(images, labels, strict=False):
        suffix = "".join(path.suffixes)
        shutil.copyfile(path, folder / "labels" / "final" / f"{image.name.split('.')[0]}{suffix}")
    return str(folder)


def compare(
    app: Any, model: str, bundle: str, files: list[Path], out: Path, **request: Any
) -> Iterator[dict[str, Any]]:
    """A row for each image: the app's mask against that of ``predict``."""
    monai_sscm(["predict", *map(str, files), "--model", bundle, "--output_dir", str(out), "--device", "cpu"])
    for path in files:
        stem = path.name.split(".")[0]
        (mask,) = (p for p in out.iterdir() if p.name.startswith(f"{stem}_seg") or p.name.startswith(f"{stem}.seg"))
        result = app.infer({"model": model, "image": str(path), "device": "cpu", **request})
        ours, theirs = read(result["file"]), read(mask)
        place = True
        if not result["file"].endswith(".png"):
            a, b = sitk.ReadImage(result["file"]), sitk.ReadImage(str(path))
            ways = ("GetSpacing", "GetOrigin", "GetDirection")
            place = all(np.allclose(getattr(a, way)(), getattr(b, way)(), atol=1e-4) for way in ways)
        yield {
            "model": model,
            "image": path.name,
            "result": "".join(Path(result["file"]).suffixes),
            "foreground": int((theirs > 0).sum()),
            "lowest_dice_with_predict": round(lowest_dice(ours, theirs), 6),
            "in_the_image_s_place": place,
        }


def _let_torchvision_in() -> None:
    """MONAI Label imports torchvision, whose operators are missing where PyTorch is a build for CPUs; none is used."""
    while True:
        try:
            import torchvision  # noqa: F401

            return
        except RuntimeError as error:
            missing = re.search(r"operator torchvision::(\w+) does not exist", str(error))
            if missing is None:
                raise
            for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
                del sys.modules[name]
            torch.library.define(f"torchvision::{missing[1]}", "(Tensor x) -> Tensor")


def main() -> None:
    """Run all of it, and write what came out."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data_dir", type=Path, required=True)
    parser.add_argument("--work_dir", type=Path, required=True)
    parser.add_argument("--models", nargs="+", help="only these; what is known of others stays in the results")
    args = parser.parse_args()
    os.environ["MONAI_LABEL_DATASTORE_AUTO_RELOAD"] = "false"
    os.environ["MONAI_LABEL_AUTO_UPDATE_SCORING"] = "false"
    import monai

    _let_torchvision_in()
    import monailabel
    from monailabel.interfaces.utils.app import app_instance

    work = args.work_dir.resolve()
    shutil.rmtree(work, ignore_errors=True)
    images = write_images(args.data_dir.resolve(), work)
    app_dir = work / "app"
    shutil.copytree(ROOT / "apps" / "monailabel", app_dir, ignore=shutil.ignore_patterns("model", "__pycache__"))
    versions = {"monailabel": monailabel.__version__, "monai": monai.__version__, "torch": torch.__version__}
    report: dict[str, Any] = {"versions": {**versions, "numpy": np.__version__}, "infer": [], "train": []}
    # the bundles that ship, with short epochs, and one that is planned here and has no weights before it is trained
    planned = work / "planned_mr"
    mr = images["hippocampus_mr_segmentation"]
    for part in ("imagesTr", "labelsTr"):
        (work / "mr" / part).mkdir(parents=True)
    for path in mr["images"]:
        shutil.copyfile(path, work / "mr" / "imagesTr" / path.name)
    for path in mr["labels"]:
        shutil.copyfile(path, work / "mr" / "labelsTr" / path.name)
    names = {"labels": {"0": "background", "1": "anterior", "2": "posterior"}}
    (work / "mr" / "dataset.json").write_text(json.dumps(names))
    monai_sscm(["plan", str(work / "mr"), "--to", str(planned), "--spacing", "[1.2,1.2,1.2]"])
    images[planned.name] = mr
    chosen = args.models or list(images)
    if args.models and RESULTS.is_file():
        known = json.loads(RESULTS.read_text())
        for part in ("infer", "train"):
            report[part] = [row for row in known[part] if row["model"].partition(",")[0] not in chosen]
    for model, files in images.items():
        if model not in chosen:
            continue
        folder = planned if model == planned.name else app_dir / "model" / model
        if model != planned.name:
            folder.parent.mkdir(exist_ok=True)
            copy_bundle(model, folder)
        config = folder / "configs" / "train.yaml"
        config.write_text(set_values(config.read_text(), {"epoch_length": str(STEPS)}))
        conf = {"models": str(planned) if model == planned.name else model}
        app = app_instance(str(app_dir), studies(work / "studies" / model, files["images"], files["labels"]), conf)
        served = find_bundle(folder)
        if model != planned.name:
            report["infer"] += compare(app, model, model, files["infer"], work / "masks" / model)
            if model.startswith("hippocampus"):
                other = work / "nrrd" / model
                report["infer"] += compare(app, model, model, files["infer"][:1], other, result_extension=".nrrd")
        else:
            assert model not in app.info()["models"]  # no weights yet
        report["train"].append(trained(app, model, Path(served), len(files["images"])))
        report["train"][-1]["suggests"] = suggested(app, model, Path(served), files["labels"])
        after = compare(app, model, served, files["infer"][:1], work / "after" / model)
        report["infer"] += [{**row, "model": f"{model}, trained in the app"} for row in after]
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))
    wrong = [
        row for row in report["infer"] if row["lowest_dice_with_predict"] < 0.995 or not row["in_the_image_s_place"]
    ]
    sys.exit(f"{len(wrong)} masks are not those of predict" if wrong else 0)


def suggested(app: Any, model: str, bundle: Path, annotations: list[Path]) -> str:
    """The image that the app's strategy asks for: the first of ``suggest``, and none that is annotated."""
    asked = app.next_sample({"strategy": "suggest", "model": model})["id"].partition(".")[0]
    with open(bundle / "training" / "suggestions.csv", newline="") as file:
        first = Path(next(csv.DictReader(file))["image"]).name.partition(".")[0]
    assert asked == first and asked not in [path.name.partition(".")[0] for path in annotations], (asked, first)
    return asked


def trained(app: Any, model: str, bundle: Path, count: int) -> dict[str, Any]:
    """A row of a training: what it learned from, its schedule, where it started, what is served after it."""
    weights = bundle / "models" / "model.pt"
    before = torch.load(weights, weights_only=True) if weights.is_file() else None
    config = bundle / "configs" / "train.yaml"
    text = config.read_text()
    request = {"model": model, "device": "cpu", "max_epochs": 2, "multi_gpu": False}
    row: dict[str, Any] = {"model": model, "images": count}
    if before is not None:  # so slow that the result is what it started from
        config.write_text(set_values(text, {"learning_rate": "1.0e-12"}))
        app._trainers = app.init_trainers()
        app.train({**request, "max_epochs": 1})
        after = torch.load(weights, weights_only=True)
        moved = max(float((after[key] - before[key]).abs().max()) for key in before)
        row["served_equals_start_at_learning_rate_0"] = moved < 1e-6
        config.write_text(text)
    app._trainers = app.init_trainers()
    app.train({**request, "max_epochs": 2})
    state = torch.load(bundle / "training" / "states" / "last.pt", weights_only=True)
    served = torch.load(weights, weights_only=True)
    row |= {
        "labeled": len(state["images"]["labeled"]),
        "unlabeled": len(state["images"]["unlabeled"]),
        "method": state["settings"]["method"],
        "steps": state["trainer"]["iteration"],
        "steps_of_the_schedule": state["lr_scheduler"]["total_iters"],
        "last_learning_rate": state["lr_scheduler"]["_last_lr"][0],
        "served_is_the_teacher": all(torch.equal(x, state["teacher"][key]) for key, x in served.items()),
        "changed": before is None or any(not torch.equal(x, before[key]) for key, x in served.items()),
    }
    return row


if __name__ == "__main__":
    logging.disable(logging.INFO)
    main()
