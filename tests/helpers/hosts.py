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

"""What hosts of bundles do with one, step by step, after their own code; for tests without these hosts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import LoadImaged
from monai.utils import ensure_tuple, first


def parsed(bundle: Path, **values) -> ConfigParser:
    parser = ConfigParser()
    parser.read_meta(str(bundle / "configs" / "metadata.json"))
    parser.read_config(str(bundle / "configs" / "inference.yaml"))
    parser.update({"bundle_root": str(bundle), "device": "cpu", **values})
    return parser


def as_label(parser: ConfigParser, network: torch.nn.Module, path: str) -> np.ndarray:
    """
    MONAI Label: each transform by itself, on one image among other values; nothing is collated. Its ``image_path`` is
    kept from the transforms by our app, as MONAI's ``Spacingd`` takes it for metadata.

    Returns:
        class indices on the stored grid.
    """
    data = {"image": path, "model": "any", "device": "cpu", "result_compress": False}
    for transform in parser.get_parsed_content("preprocessing").transforms:
        if isinstance(transform, LoadImaged):
            transform._loader.image_only = False
        data = transform(data)
    with torch.no_grad():
        data["pred"] = parser.get_parsed_content("inferer")(data["image"][None], network)[0]
    for transform in parser.get_parsed_content("postprocessing").transforms:
        data = transform(data)
    return returned(parser, data["pred"])


def as_deploy(parser: ConfigParser, network: torch.nn.Module, loaded: MetaTensor) -> np.ndarray:
    """
    MONAI Deploy's ``MonaiBundleInferenceOperator``: the loader is dropped, the image comes as an array with metadata
    and no file; all tensors of the result but the image are arguments of the inferer.

    Args:
        loaded: the image, without channels where it has one.

    Returns:
        class indices on the stored grid.
    """
    pre, post = (parser.get_parsed_content(name) for name in ("preprocessing", "postprocessing"))
    for compose in (pre, post):
        compose.transforms = tuple(t for t in compose.transforms if "LoadImage" not in type(t).__name__)
    name = first(parser["_meta_"]["network_data_format"]["inputs"])
    inputs = pre({name: MetaTensor.ensure_torch_and_prune_meta(loaded.array, dict(loaded.meta))})
    image = inputs.pop(name)
    others = {key: value[None] for key, value in inputs.items() if isinstance(value, torch.Tensor)}
    with torch.no_grad():
        outputs = parser.get_parsed_content("inferer")(inputs=image[None], network=network, **others)
    out = first(parser["_meta_"]["network_data_format"]["outputs"])
    return returned(parser, post({out: ensure_tuple(outputs)[0], **inputs, name: image})[out])


def returned(parser: ConfigParser, pred: torch.Tensor) -> np.ndarray:
    """What ``postprocessing`` gives, if it is what the metadata say."""
    said = parser["_meta_"]["network_data_format"]["post_processed_outputs"]["pred"]
    assert str(pred.dtype) == f"torch.{said['dtype']}" and len(pred) == said["num_channels"]
    assert pred.ndim == 1 + len(said["spatial_shape"])
    low, high = said["value_range"]
    assert low <= int(pred.min()) and int(pred.max()) <= high
    return np.asarray(pred[0])
