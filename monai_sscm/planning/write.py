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


"""Writing a plan as a bundle."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

import monai_sscm
from monai_sscm.templates import render_configs, set_values

from .document import plan_document, readme
from .plan import Plan

__all__ = ["write_plan"]

_SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
_PACKAGES = ("pytorch-ignite", "nibabel", "SimpleITK", "pillow", "tensorboard", "tqdm", "pyyaml", "fire", "matplotlib")


def write_plan(plan: Plan, folder: str | Path) -> None:
    """
    Write a plan as an ordinary MONAI bundle: configurations, in which each planned value stands with its reason,
    metadata, and ``docs/plan.md``. It is written whole or not at all.

    Args:
        plan: the plan.
        folder: folder that becomes the bundle; must not exist, or be empty.

    Raises:
        FileExistsError: when there is something in the folder.
        OSError: when it cannot be written.
        ValueError: when the user chose a value that this kind of input does not have.
    """
    folder = Path(folder)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        what = "is a bundle already" if (folder / "configs" / "train.yaml").is_file() else "is not empty"
        raise FileExistsError(f"{str(folder)!r} {what}: choose a folder that does not exist.")
    files = _files(plan, folder.resolve().name)
    part = folder.with_name(f"{folder.name}.part")
    try:
        if part.exists():
            shutil.rmtree(part)  # of a command that was killed
        for name, text in files.items():
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            (part / name).write_text(text, "utf-8")
        if folder.is_dir():
            folder.rmdir()
        part.rename(folder)
    except OSError as e:
        shutil.rmtree(part, ignore_errors=True)
        raise OSError(
            f"The bundle {str(folder)!r} cannot be written ({e.strerror or e}): choose another folder."
        ) from e


def _files(plan: Plan, bundle_name: str) -> dict[str, str]:
    configs = render_configs(plan.kind)
    known = yaml.safe_load(configs["train.yaml"])
    unknown = [name for name in plan.values if name.partition("#")[0] not in known]
    if unknown:
        raise ValueError(f"`{unknown[0]}` is no value for training on {plan.kind}: leave it out.")
    values = {"bundle_name": _as_yaml(bundle_name), "dataset_dir": _as_yaml(str(Path(plan.seen.dataset_dir).resolve()))}
    values |= {name: _as_yaml(planned.value) for name, planned in plan.values.items()}
    reasons = {name: planned.reason for name, planned in plan.values.items()}
    reasons["dataset_dir"] = f"the data set, laid out as {plan.seen.layout!r}"
    title = f"# Planned by monai-sscm for {plan.seen.dataset_dir}; docs/plan.md says what was seen."
    train = set_values(configs["train.yaml"], values, reasons)
    if plan.seen.folders:
        datalist = " ".join(known["datalist"].split()).removesuffix(")") + ", folders=True)"
        train = set_values(train, {"datalist": datalist}, {"datalist": "each folder is an image"})
    configs["train.yaml"] = title + "\n" + train.partition("\n")[2]
    configs["inference.yaml"] = set_values(configs["inference.yaml"], {"bundle_name": values["bundle_name"]})
    configs["metadata.json"] = json.dumps(_metadata(plan, bundle_name), indent=4) + "\n"
    files = {f"configs/{name}": text for name, text in configs.items()}
    files["docs/plan.md"] = plan_document(plan)
    files["docs/fingerprint.json"] = json.dumps(plan.seen.as_json(), indent=1) + "\n"
    files["docs/README.md"] = readme(plan, bundle_name)
    return files


def _as_yaml(value: Any) -> str:
    return yaml.safe_dump([value], default_flow_style=True, width=10**6, allow_unicode=True).strip()[1:-1]


def _metadata(plan: Plan, bundle_name: str) -> dict[str, Any]:
    """What MONAI's schema asks for."""
    seen, values = plan.seen, {name: planned.value for name, planned in plan.values.items()}
    classes = {str(i): name for i, name in enumerate(values["class_names"])}
    channels = seen.channel_names or (["red", "green", "blue"] if seen.pictures and seen.channels == 3 else None)
    if channels is None or len(channels) != values["in_channels"]:
        channels = [f"channel {i}" for i in range(values["in_channels"])]
    modality = "CT" if seen.hounsfield else "picture" if seen.pictures else "other"
    image = {
        "type": "image",
        "format": "hounsfield" if seen.hounsfield else "magnitude",
        "modality": modality,
        "num_channels": values["in_channels"],
        "spatial_shape": values["patch_size"],
        "dtype": "float32",
        "value_range": [0, 1] if values.get("intensity_range") else [],
        "is_patch_data": True,
        "channel_def": {str(i): str(name) for i, name in enumerate(channels)},
    }
    pred = {**image, "format": "segmentation", "num_channels": len(classes), "value_range": [], "channel_def": classes}
    del pred["modality"]
    mask = {
        "type": "image",
        "format": "segmentation",
        "num_channels": 1,
        "spatial_shape": ["*"] * (2 if plan.kind == "pictures" else 3),  # of the image as it is stored
        "dtype": "uint8",
        "value_range": [0, len(classes) - 1],
        "is_patch_data": False,
        "channel_def": {"0": "index of the class"},
    }
    if seen.spacing is not None:
        image["spacing"] = seen.spacing[: len(values["patch_size"])]  # in mm, see monai_sscm.io.stored_spacing
    named = ", ".join(f"{index}: {name}" for index, name in classes.items())
    return {
        "schema": _SCHEMA,
        "version": "0.1.0",
        "changelog": {"0.1.0": "planned"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {
            "monai_sscm": monai_sscm.__version__,
            **{name.lower(): version(name) for name in _PACKAGES},
        },
        "name": bundle_name,
        "task": f"Semi-supervised segmentation of {', '.join(values['class_names'][1:])}",
        "description": f"A U-Net for {plan.kind}, planned by monai-sscm from the data set",
        "authors": "unknown",
        "copyright": "unknown",
        "data_source": Path(seen.dataset_dir).resolve().name,
        "data_type": "picture" if seen.pictures else "volume",
        "image_classes": f"{modality}, {len(channels)} channel{'s' * (len(channels) > 1)}",
        "label_classes": named,
        "pred_classes": f"one channel of class indices, {named}; of the network {len(classes)} channels of logits",
        "eval_metrics": {},
        "network_data_format": {
            "inputs": {"image": image},
            "outputs": {"pred": pred},
            "post_processed_outputs": {"pred": mask},
        },
    }
