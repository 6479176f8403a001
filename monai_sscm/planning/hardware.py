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


"""What a training runs on."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

__all__ = ["Hardware", "find_hardware"]


@dataclass(frozen=True)
class Hardware:
    """
    What a training runs on.

    Args:
        device: "cuda" or "cpu".
        name: what a person calls it.
        threads: threads that PyTorch computes with.
        memory: gigabytes of memory that are free for images.
        gpu_memory: gigabytes of the GPU; 0 without one.
        half: whether mixed precision pays: GPUs from 2017 on, CPUs with arithmetic of their own for bfloat16.
    """

    device: str = "cpu"
    name: str = "CPU"
    threads: int = 1
    memory: float = 8.0
    gpu_memory: float = 0.0
    half: bool = False

    @property
    def has_gpu(self) -> bool:
        """Whether there is a GPU."""
        return self.device == "cuda"


def find_hardware() -> Hardware:
    """
    Look at what is here.

    Example:
        >>> from monai_sscm.planning import find_hardware
        >>> find_hardware().threads >= 1
        True
    """
    threads = torch.get_num_threads()
    memory = _free_memory()
    if not torch.cuda.is_available():
        name = f"a CPU with {threads} thread{'s' * (threads > 1)}"
        return Hardware("cpu", name, threads, memory, half=_has_bfloat16())
    properties = torch.cuda.get_device_properties(0)
    gigabytes = properties.total_memory / 1e9
    name = f"{properties.name} with {gigabytes:.0f} GB"
    return Hardware("cuda", name, threads, memory, gigabytes, properties.major >= 7)


def _has_bfloat16() -> bool:
    """Whether the CPU computes with bfloat16; not where PyTorch does not tell."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


def _free_memory() -> float:
    """Gigabytes; 8 where the system does not tell."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    except (AttributeError, ValueError, OSError):
        return 8.0
