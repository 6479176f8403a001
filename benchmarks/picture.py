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
Draw what is mixed, for the README, from phantoms.

    python benchmarks/picture.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import torch
from matplotlib import pyplot as plt

from monai_sscm.data import vessel_phantom
from monai_sscm.transforms import RandStrongIntensity, SupervisedClassMix


def main() -> None:
    def load(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        image, mask = (torch.as_tensor(x) for x in vessel_phantom(384, seed))
        return image.movedim(-1, 0)[:, 64:256, 96:288].float() / 255, mask[None, 64:256, 96:288]

    (donor, label), (receiver, truth) = load(6), load(21)
    # what a half-trained teacher would say: the thick vessels only
    pseudo = torch.nn.functional.max_pool2d(-torch.nn.functional.max_pool2d(-truth.float(), 3, 1, 1), 3, 1, 1)
    mix = SupervisedClassMix(classes=(1,), num_classes=2, spatial_dims=2)
    (image, target), mask = mix((receiver, pseudo), (donor, label), label)
    strong = RandStrongIntensity(spatial_dims=2, prob=1.0).set_random_state(4)(image)

    columns = [
        ("labelled image (donor)", donor, "its true label", label),
        ("unlabelled image", receiver, "teacher's pseudo-label", pseudo),
        ("mixed image", image, "mixed label", target + mask.float()),
        ("as the student sees it", strong, "weight (1 on the paste)", torch.where(mask, 1.0, 0.6)),
    ]
    figure, axes = plt.subplots(2, len(columns), figsize=(2.6 * len(columns), 5.6), layout="constrained")
    for (top, bottom), (title, picture, below, map_) in zip(axes.T, columns, strict=True):
        top.imshow(picture.movedim(0, -1).clamp(0, 1))
        top.set_title(title, fontsize=10)
        bottom.imshow(map_[0], cmap="magma", vmin=0, vmax=max(1.0, float(map_.max())), interpolation="nearest")
        bottom.set_title(below, fontsize=10)
        top.axis("off")
        bottom.axis("off")
    path = Path(__file__).parent / "results" / "supmix.png"
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=80)
    print(path)


if __name__ == "__main__":
    main()
