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

"""The shipped networks, exported by MONAI; on real images and whole files by ``benchmarks/hosts/exported.py``."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser, ckpt_export, onnx_export

from tests.helpers.bundles import BUNDLES

#: sizes that the network takes, each of which is a multiple of the product of its strides
SIZES = {
    "covid19_ct_segmentation": [(32, 32), (64, 48), (80, 16)],
    "hippocampus_mr_segmentation": [(16, 16, 16), (20, 24, 12), (8, 32, 16)],
}


def arguments(name: str) -> dict[str, Any]:
    root = BUNDLES / name
    return {
        "ckpt_file": str(root / "models" / "model.pt"),
        "meta_file": str(root / "configs" / "metadata.json"),
        "config_file": str(root / "configs" / "inference.yaml"),
        "bundle_root": str(root),
    }


@pytest.fixture(scope="module", params=SIZES)
def case(request) -> tuple[str, torch.nn.Module]:
    parser = ConfigParser()
    parser.read_config(arguments(request.param)["config_file"])
    parser["bundle_root"] = arguments(request.param)["bundle_root"]
    network = parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(arguments(request.param)["ckpt_file"], weights_only=True))
    return request.param, network.eval()


def images(name: str) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.rand(batch, 1, *size) for batch, size in zip((1, 3, 2), SIZES[name], strict=True)]


def test_torchscript_takes_any_batch_and_size(case, tmp_path):
    name, network = case
    ckpt_export("network_def", filepath=str(tmp_path / "model.ts"), **arguments(name))
    exported = torch.jit.load(tmp_path / "model.ts")
    for x in images(name):
        with torch.inference_mode():
            torch.testing.assert_close(exported(x), network(x))


def test_onnx_takes_any_batch_and_size(case, tmp_path):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    name, network = case
    axes = {0: "batch", **{i: f"size_{i}" for i in range(2, 2 + len(SIZES[name][0]))}}
    kwargs: dict[str, Any] = {"input_names": ["image"], "output_names": ["pred"], "dynamo": False}
    kwargs["dynamic_axes"] = {"image": axes, "pred": axes}
    path = str(tmp_path / "model.onnx")
    onnx_export("network_def", filepath=path, use_trace=True, converter_kwargs=kwargs, **arguments(name))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for x in images(name):
        (logits,) = session.run(None, {"image": x.numpy()})
        with torch.inference_mode():
            torch.testing.assert_close(torch.from_numpy(logits), network(x), rtol=1e-4, atol=1e-4)
