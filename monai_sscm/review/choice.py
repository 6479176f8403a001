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


"""Which unlabeled images help most when they are labeled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["choose"]


def choose(
    features: np.ndarray, known: np.ndarray, agreement: Sequence[float], groups: Sequence[str], number: int
) -> list[tuple[int, float, float]]:
    """
    Choose images one by one: each time the one on which the network is least sure and that is most unlike those that
    are labeled or chosen already, by the product of both.

    Args:
        features: of the images to choose from, ``(N, F)``.
        known: of the labeled images, ``(L, F)``, L at least 1.
        agreement: of views upon the mask of each image, in [0, 1]; nan, where no class was found, counts as the median.
        groups: patient of each image: a second image of a patient is chosen only when there is no other patient.
        number: how many are chosen, at most N.

    Returns:
        for each choice the index, how unlike it is (1: as the images to choose from are to the labeled ones in the
        mean), and the product.

    Example:
        >>> import numpy as np
        >>> from monai_sscm.review import choose
        >>> features = np.array([[0.0], [1.0], [1.1], [-1.0]])
        >>> [i for i, _, _ in choose(features, np.array([[0.0]]), [0.5, 0.9, 0.5, 0.5], ["a", "b", "c", "d"], 2)]
        [2, 3]
    """
    mean, spread = features.mean(0), features.std(0)
    spread = np.where(spread > 1e-12, spread, np.inf)  # what does not tell images apart does not count
    points, others = (features - mean) / spread, (known - mean) / spread
    sure = np.asarray(agreement, dtype=np.float64)
    found = sure[np.isfinite(sure)]
    doubt = 1 - np.where(np.isfinite(sure), sure, np.median(found) if len(found) else 0.0)
    distance = np.stack([np.linalg.norm(points - other, axis=1) for other in others]).min(0)
    unit = distance.mean() or 1.0
    chosen: list[tuple[int, float, float]] = []
    taken: set[str] = set()
    free = np.ones(len(points), dtype=bool)
    for _ in range(min(number, len(points))):
        if all(group in taken for group, is_free in zip(groups, free, strict=True) if is_free):
            taken = set()
        allowed = free & np.array([group not in taken for group in groups])
        score = np.where(allowed, doubt * distance / unit, -np.inf)
        best = int(score.argmax())
        chosen.append((best, float(distance[best] / unit), float(score[best])))
        taken.add(groups[best])
        free[best] = False
        distance = np.minimum(distance, np.linalg.norm(points - points[best], axis=1))
    return chosen
