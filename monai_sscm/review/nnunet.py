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


"""A training's images as a raw data set of nnU-Net: true masks, and pseudo-labels that leave unsure pixels out."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import nibabel
import numpy as np
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, LoadImage
from PIL import Image

from monai_sscm.bundle import opened_config
from monai_sscm.handlers import PredictionSaver
from monai_sscm.io import PictureReader, VolumeReader
from monai_sscm.io.writing import write_table
from monai_sscm.transforms import EnsureImageChannels
from monai_sscm.transforms.label.array import IGNORED

from .run import TrainingRun, find_mask, read_run

__all__ = ["export_nnunet"]

_IGNORE = "ignore"  # as nnU-Net names pixels that do not count
_KINDS = {"labeled": "mask", "unlabeled": "pseudo-label", "val": "test", "test": "test"}


def export_nnunet(
    folder: str | Path, output_dir: str | Path | None = None, number: int = 501, values: Mapping[str, Any] | None = None
) -> Path:
    """
    Write the images of a training as a raw data set of nnU-Net, version 2.

    ``imagesTr`` and ``labelsTr`` have the labeled images with their masks, and the unlabeled ones with the teacher's
    masks, in which pixels on which its views do not agree carry nnU-Net's ignore label, the number behind the classes'.
    So do pixels that a mask leaves out. ``imagesTs`` and ``labelsTs`` have the images for validation and testing.
    Pictures are PNG files, volumes NIfTI files. ``cases.csv`` says of each case which it is, and how much of it is
    ignored.

    Args:
        folder: folder of a finished training.
        output_dir: folder of raw data sets. None: as the environment's ``nnUNet_raw`` says, else ``nnUNet_raw``.
        number: of the data set, from 1 to 999.
        values: further values of ``inference.yaml``.

    Returns:
        the data set's folder, ``Dataset501_name``.

    Raises:
        ValueError: when the folder is no finished training, or has pictures and volumes, or stacks of slices.
        FileExistsError: when there is a data set of this number.
        OSError: when it cannot be written.
        SystemExit: with status 1 when an image was left out, after the others are written.
    """
    run = read_run(folder)
    raw = Path(output_dir or os.environ.get("nnUNet_raw") or "nnUNet_raw")
    same = sorted(raw.glob(f"Dataset{number:03}_*"))
    if same:
        raise FileExistsError(f"{str(same[0])!r} exists: choose another --number.")
    images = run.images(*_KINDS)
    if any("slice" in item for item in images):
        raise ValueError(f"The images of {str(folder)!r} are slices of stacks, which are not exported.")
    name = re.sub(r"[^A-Za-z0-9]+", "_", Path(str(run.config["dataset_dir"])).name.removesuffix(".json")).strip("_")
    target = raw / f"Dataset{number:03}_{name}"
    part = raw / f"{target.name}.part"
    shutil.rmtree(part, ignore_errors=True)  # of a command that was killed
    try:
        with tempfile.TemporaryDirectory() as masks:
            unlabeled = [item for item in images if item["part"] == "unlabeled"]
            finish = _write_pseudo_labels(run, unlabeled, masks, values or {}) if unlabeled else None
            class_names = _write_true_masks(run, [item for item in images if "label" in item], masks)
            rows, ending = _write_cases(images, masks, part, run.config["in_channels"], len(class_names))
        _describe(run, part, rows, class_names, ending)
        part.rename(target)
    except OSError as e:
        raise OSError(f"{str(target)!r} cannot be written ({e.strerror or e}): choose another folder.") from e
    finally:
        shutil.rmtree(part, ignore_errors=True)
    if finish is not None:
        finish()
    return target


def _write_pseudo_labels(
    run: TrainingRun, images: Sequence[Mapping[str, Any]], masks: str, values: Mapping[str, Any]
) -> Any:
    """Segment images; returns the function that names those that were left out."""
    values = {**values, "output_dir": masks, "quality": True, "judges": "$[@views]", "views#mark_unsure": True}
    names = f"$@options.class_names + [{_IGNORE!r}]"
    saver = {"_target_": "monai_sscm.handlers.PredictionSaver", "output_dir": masks, "class_names": names}
    values["handlers"] = [saver]
    with run.inference(images, **values) as workflow:
        workflow.initialize()
        with contextlib.redirect_stdout(io.StringIO()):
            workflow.run()
        return workflow.finalize


def _write_true_masks(run: TrainingRun, images: Sequence[Mapping[str, Any]], masks: str) -> list[str]:
    """Masks as the training reads them, on the stored grid; returns the names of the classes."""
    with opened_config([run.root / "configs" / "train.yaml"], {}) as workflow:
        load = Compose(workflow.parser.get_parsed_content("load"))
        class_names: list[str] = workflow.parser.get_parsed_content("options")["class_names"]
    restore = Invertd(keys=["label", "image"], transform=load, orig_keys="image")
    saver = PredictionSaver(masks, [*class_names, _IGNORE])
    for item in images:
        data = cast(dict, restore(load(dict(item))))
        label = data["label"]
        label = torch.where(label == IGNORED, len(class_names), label).to(torch.uint8)
        saver.save(item["name"], data["image"], cast(MetaTensor, label))
    return class_names


def _write_cases(
    images: Sequence[Mapping[str, Any]], masks: str, folder: Path, channels: int, ignored: int
) -> tuple[list[dict[str, Any]], str]:
    """Images and masks in the folders of a raw data set; returns a line for each, and how their names end."""
    for name in ("imagesTr", "labelsTr", "imagesTs", "labelsTs"):
        (folder / name).mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    endings: set[str] = set()
    for item in images:
        try:
            mask = find_mask(masks, item["name"])
        except FileNotFoundError:
            continue  # it could not be read
        case, kind = item["name"].replace("/", "_"), _KINDS[item["part"]]
        part = "Ts" if kind == "test" else "Tr"
        if mask.name.endswith("_seg.png"):
            array = np.array(Image.open(mask))
            ending = ".png"
            Image.fromarray(array).save(folder / f"labels{part}" / f"{case}.png")  # without a palette
            _write_picture(item["image"], folder / f"images{part}", case, channels)
        else:
            volume = sitk.ReadImage(str(mask))
            array, ending = sitk.GetArrayFromImage(volume), ".nii.gz"
            if mask.name.endswith(ending):
                shutil.copyfile(mask, folder / f"labels{part}" / f"{case}{ending}")
            else:
                sitk.WriteImage(volume, str(folder / f"labels{part}" / f"{case}{ending}"))
            _write_volume(item["image"], folder / f"images{part}", case)
        endings.add(ending)
        rows.append({"case": case, "kind": kind, "ignored": f"{float((array == ignored).mean()):.4f}"})
    if len(endings) > 1:
        raise ValueError("The images are pictures and volumes, and nnU-Net takes one kind: train on them separately.")
    return rows, endings.pop()


def _write_picture(image: str | Sequence[str], folder: Path, case: str, channels: int) -> None:
    """A picture as PNG; color in one file, as nnU-Net reads it, and other channels in a file each."""
    load = LoadImage(reader=PictureReader(palette="colors"), ensure_channel_first=True)
    pixels = np.asarray(EnsureImageChannels(channels, 2)(load(image)))
    kind = np.uint8 if pixels.max() <= 255 else np.uint16
    pixels = pixels.round().astype(kind)
    if channels == 3 and kind == np.uint8:
        Image.fromarray(np.ascontiguousarray(np.moveaxis(pixels, 0, -1))).save(folder / f"{case}_0000.png")
        return
    for i, channel in enumerate(pixels):
        Image.fromarray(np.ascontiguousarray(channel)).save(folder / f"{case}_{i:04}.png")


def _write_volume(image: str | Sequence[str], folder: Path, case: str) -> None:
    """A volume as NIfTI, each channel in a file of its own."""
    files = [image] if isinstance(image, str) else list(image)
    if all(file.lower().endswith((".nii", ".nii.gz")) for file in files):
        channels = []
        for file in files:
            stored: Any = nibabel.load(file)
            parts = [stored] if stored.ndim < 4 else nibabel.four_to_three(stored)
            channels += [(file if stored.ndim < 4 and file.lower().endswith(".gz") else None, part) for part in parts]
        for i, (source, part) in enumerate(channels):
            target = folder / f"{case}_{i:04}.nii.gz"
            if source is None:
                nibabel.save(part, target)
            else:
                shutil.copyfile(source, target)
        return
    array, meta = VolumeReader().get_data([Path(file) for file in files])
    for i, channel in enumerate(np.moveaxis(array, -1, 0) if array.ndim == 4 else array[None]):
        volume = sitk.GetImageFromArray(np.ascontiguousarray(channel.transpose()))
        for set_value, key in (
            (volume.SetSpacing, "spacing"),
            (volume.SetOrigin, "origin"),
            (volume.SetDirection, "direction"),
        ):
            set_value(np.asarray(meta["geometry"][key], dtype=np.float64).ravel().tolist())
        sitk.WriteImage(volume, str(folder / f"{case}_{i:04}.nii.gz"))


def _describe(
    run: TrainingRun, folder: Path, rows: Sequence[Mapping[str, Any]], class_names: Sequence[str], ending: str
) -> None:
    """Write ``dataset.json`` and ``cases.csv``."""
    metadata = json.loads((run.root / "configs" / "metadata.json").read_text("utf-8"))
    image = metadata["network_data_format"]["inputs"]["image"]
    channels = image.get("channel_def") or {str(i): f"channel {i}" for i in range(run.config["in_channels"])}
    if image.get("modality") == "CT" and ending == ".nii.gz":
        channels = {key: "CT" for key in channels}  # then nnU-Net clips and scales Hounsfield units
    labels = {"background": 0} | {name: i for i, name in enumerate(class_names) if i > 0}
    about = {
        "channel_names": channels,
        "labels": labels | {_IGNORE: len(class_names)},
        "numTraining": sum(row["kind"] != "test" for row in rows),
        "file_ending": ending,
    }
    (folder / "dataset.json").write_text(json.dumps(about, indent=1) + "\n", "utf-8")
    write_table(rows, folder / "cases.csv")
