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


"""One array in the containers and types that users have."""

from __future__ import annotations

from typing import Any

import torch
from monai.data import MetaTensor

KINDS = ("numpy", "tensor", "meta", "uint8", "half")


def in_container(x: torch.Tensor, kind: str) -> Any:
    """``x`` as numpy array, tensor, MetaTensor with the name "a", or tensor of another type."""
    containers = {"numpy": x.numpy(), "tensor": x, "meta": MetaTensor(x, meta={"name": "a"})}
    return containers[kind] if kind in containers else x.to(getattr(torch, kind))


def assert_same_container(out: Any, given: Any) -> None:
    """The container, size and metadata of ``given``."""
    assert type(out) is type(given) and out.shape == given.shape
    if isinstance(given, MetaTensor):
        assert out.meta["name"] == "a"
