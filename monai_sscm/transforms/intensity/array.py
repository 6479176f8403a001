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

"""Batched strong intensity augmentation, for what the student sees of an unlabelled image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ..batch import RandBatchTransform

__all__ = ["RandStrongIntensity"]


class RandStrongIntensity(RandBatchTransform):
    """
    Blur, gamma, contrast, brightness and noise, in this order, each with probability ``prob``, drawn for every sample.

    Made for the student's view of a batch: one call serves the whole batch, any channel count, 2D and 3D, on any
    device. Strengths are relative to the sample's own intensities (its mean, standard deviation, minimum and maximum
    over channels and space), so they suit images in [0, 1], z-scores and Hounsfield units alike. Nothing is clipped.
    The same draw serves all channels of a sample. The blur is mild: structures one pixel wide must survive it.

    With :math:`u` uniform: contrast :math:`x \\to \\mu + c (x - \\mu),\\ c \\in [1 - contrast, 1 + contrast]`;
    brightness :math:`x \\to x + b \\sigma,\\ b \\in [-brightness, brightness]`; gamma on the intensities scaled to
    [0, 1], its logarithm uniform; noise with standard deviation :math:`n \\sigma,\\ n \\in [0, noise]`; a Gaussian blur
    with a standard deviation in [0, blur] pixels.

    Args:
        spatial_dims: number of spatial dimensions of the data, 2 or 3.
        prob: probability of each of the five for a sample.
        brightness: largest shift, in standard deviations of the sample; 0 turns it off, as with all that follow.
        contrast: largest change of contrast, as a share, below 1.
        gamma: largest exponent, at least 1; exponents are drawn from [1 / gamma, gamma].
        noise: largest standard deviation of the noise, in standard deviations of the sample.
        blur: largest standard deviation of the blur, in pixels.

    Raises:
        ValueError: when an argument is out of its range or the data is neither a sample nor a batch.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import RandStrongIntensity
        >>> augment = RandStrongIntensity(spatial_dims=2).set_random_state(0)
        >>> augment(torch.rand(4, 3, 64, 64)).shape
        torch.Size([4, 3, 64, 64])
    """

    def __init__(
        self,
        spatial_dims: int,
        prob: float = 0.8,
        brightness: float = 0.5,
        contrast: float = 0.5,
        gamma: float = 1.5,
        noise: float = 0.2,
        blur: float = 0.7,
    ) -> None:
        # five decisions, five strengths, the seed of the noise
        super().__init__(spatial_dims, prob, num_draws=11)
        if min(brightness, contrast, noise, blur) < 0 or contrast >= 1 or (gamma != 0 and gamma < 1):
            raise ValueError(
                "`brightness`, `noise` and `blur` must not be negative, `contrast` must lie in [0, 1) and `gamma` must "
                f"be 0 or at least 1, got {brightness=}, {contrast=}, {gamma=}, {noise=}, {blur=}."
            )
        self.brightness = brightness
        self.contrast = contrast
        self.gamma = gamma or 1.0
        self.noise = noise
        self.blur = blur

    def _transform(self, x: torch.Tensor) -> torch.Tensor:
        x = x.clone()  # the steps below write into it
        steps: tuple[tuple[float, Callable[[torch.Tensor, np.ndarray], torch.Tensor]], ...] = (
            (self.blur, self._blur),
            (self.gamma - 1, self._gamma),
            (self.contrast, self._contrast),
            (self.brightness, self._brightness),
            (self.noise, self._noise),
        )
        for i, (strength, step) in enumerate(steps):
            chosen = np.flatnonzero(self._draws[:, i] < self.prob)
            if strength == 0 or len(chosen) == 0:
                continue
            index = torch.as_tensor(chosen).to(x.device, non_blocking=True)
            x.index_copy_(0, index, step(x.index_select(0, index), self._draws[chosen][:, [5 + i, 10]]))
        return x

    def _blur(self, x: torch.Tensor, draws: np.ndarray) -> torch.Tensor:
        sigma = np.maximum(self.blur * draws[:, 0], 1e-3)
        radius = max(1, int(np.ceil(2.5 * self.blur)))
        taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma[:, None]) ** 2)
        taps = taps / taps.sum(axis=1, keepdims=True)
        for axis in range(2, x.ndim):
            # replicate the border by clamped indices: works for images smaller than the kernel
            size = x.shape[axis]
            position = torch.arange(-radius, size + radius, device=x.device).clamp(0, size - 1)
            padded = x.index_select(axis, position)
            x = torch.zeros_like(x)
            for k in range(2 * radius + 1):
                x.addcmul_(_per_sample(taps[:, k], x), padded.narrow(axis, k, size))
        return x

    def _gamma(self, x: torch.Tensor, draws: np.ndarray) -> torch.Tensor:
        low = x.flatten(1).amin(1).view(-1, *(1,) * (x.ndim - 1))
        high = x.flatten(1).amax(1).view_as(low)
        span = (high - low).clamp_min(torch.finfo(x.dtype).tiny)
        exponent = _per_sample(self.gamma ** (2 * draws[:, 0] - 1), x)
        return ((x - low) / span).pow(exponent) * span + low

    def _contrast(self, x: torch.Tensor, draws: np.ndarray) -> torch.Tensor:
        mean = x.flatten(1).mean(1).view(-1, *(1,) * (x.ndim - 1))
        return torch.lerp(mean, x, _per_sample(1 + self.contrast * (2 * draws[:, 0] - 1), x))

    def _brightness(self, x: torch.Tensor, draws: np.ndarray) -> torch.Tensor:
        return x + _per_sample(self.brightness * (2 * draws[:, 0] - 1), x) * _deviation(x)

    def _noise(self, x: torch.Tensor, draws: np.ndarray) -> torch.Tensor:
        noise = torch.empty_like(x)
        for sample, seed in zip(noise, draws[:, 1], strict=True):
            sample.normal_(generator=torch.Generator(x.device).manual_seed(int(seed * 2**53)))
        return x + noise * (_per_sample(self.noise * draws[:, 0], x) * _deviation(x))


def _per_sample(values: np.ndarray, x: torch.Tensor) -> torch.Tensor:
    """One number per sample, shaped to broadcast over ``x``."""
    return torch.as_tensor(values).to(x.device, x.dtype, non_blocking=True).view(-1, *(1,) * (x.ndim - 1))


def _deviation(x: torch.Tensor) -> torch.Tensor:
    """Standard deviation of every sample, shaped to broadcast over ``x``."""
    flat = x.flatten(1)
    # torch.std takes five times as long on a CPU
    deviation = torch.linalg.vector_norm(flat - flat.mean(1, keepdim=True), dim=1) / flat.shape[1] ** 0.5
    return deviation.view(-1, *(1,) * (x.ndim - 1))
