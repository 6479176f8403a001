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


"""From how well views agree to the Dice to expect: a line fitted on images whose masks the network has not seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

__all__ = ["Calibration", "fit_calibration"]

#: images with true masks without which nothing is fitted
FEWEST_IMAGES = 8
#: rank correlation of agreement and Dice below which the one says too little of the other
LOWEST_CORRELATION = 0.3


@dataclass(frozen=True)
class Calibration:
    """
    The Dice to expect, as a line over the agreement.

    Args:
        slope, offset: of the line.
        images: on how many images it was fitted.
        correlation: Spearman's rank correlation of agreement and Dice on them.
        error: mean absolute error in Dice of an image on which it was not fitted.

    Example:
        >>> from monai_sscm.metrics import Calibration
        >>> line = Calibration(slope=0.5, offset=0.25, images=12, correlation=0.8, error=0.03)
        >>> line(0.5), line(2.0)
        (0.5, 1.0)
    """

    slope: float
    offset: float
    images: int
    correlation: float
    error: float

    def __call__(self, agreement: float) -> float:
        """
        Args:
            agreement: in [0, 1], or nan.

        Returns:
            Dice in [0, 1], nan for nan.
        """
        dice = self.slope * agreement + self.offset
        return math.nan if math.isnan(dice) else min(max(dice, 0.0), 1.0)


def fit_calibration(agreement: Sequence[float], dice: Sequence[float]) -> Calibration | str:
    """
    Fit the line, with the error of leaving each image out in turn.

    Args:
        agreement: of each image; an image with nan is left out.
        dice: of the same images; likewise.

    Returns:
        the line, or why there is none.

    Example:
        >>> from monai_sscm.metrics import fit_calibration
        >>> line = fit_calibration([0.1 * i for i in range(10)], [0.05 * i + 0.5 for i in range(10)])
        >>> round(line(0.4), 3), round(line.error, 3)
        (0.7, 0.0)
        >>> fit_calibration([0.5, 0.6], [0.7, 0.8])
        'there are 2 validation images to compare, and it takes 8'
    """
    pairs = np.array([(a, d) for a, d in zip(agreement, dice, strict=True) if math.isfinite(a) and math.isfinite(d)])
    if len(pairs) < FEWEST_IMAGES:
        return f"there are {len(pairs)} validation images to compare, and it takes {FEWEST_IMAGES}"
    x, y = pairs.T
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return "all validation images have the same agreement or Dice"
    correlation = float(spearmanr(x, y)[0])
    if correlation < LOWEST_CORRELATION:
        return f"on {len(pairs)} validation images, agreement does not follow Dice (rank correlation {correlation:.2f})"
    slope, offset = np.polyfit(x, y, 1)
    # the residual of an image that is left out, by its leverage
    leverage = 1 / len(x) + (x - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum()
    errors = np.abs(y - slope * x - offset) / np.maximum(1 - leverage, 1e-9)
    return Calibration(float(slope), float(offset), len(pairs), correlation, float(errors.mean()))
