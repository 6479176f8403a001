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
Draw the README's pictures: what is mixed, from phantoms, and what the shipped weights make of a photograph.

    python benchmarks/picture.py --photograph data/chase_db1/images/Image_09L.jpg
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import torch
from matplotlib import pyplot as plt
from monai.bundle import ConfigWorkflow
from PIL import Image

from monai_sscm.bundle import find_bundle
from monai_sscm.datasets import vessel_phantom
from monai_sscm.transforms import RandStrongIntensity, SupervisedClassMix

RESULTS = Path(__file__).parent / "results"


def draw_inference(photograph: str) -> None:
    """The photograph and the same under its mask, at native size, by the shipped bundle."""
    config = f"{find_bundle('chase_vessel_segmentation')}/configs/inference.yaml"
    with tempfile.TemporaryDirectory() as folder:
        values = {"input": photograph, "output_dir": folder, "save_overlays": True}
        run = ConfigWorkflow(config, workflow_type="infer", logging_file=False, **values)
        run.initialize()
        run.run()
        run.finalize()
        pictures = [Image.open(photograph).convert("RGB"), Image.open(next(Path(folder).glob("*_overlay.png")))]
        both = Image.new("RGB", (sum(p.width for p in pictures), pictures[0].height))
        both.paste(pictures[0], (0, 0))
        both.paste(pictures[1], (pictures[0].width, 0))
    both.save(RESULTS / "inference.jpg", quality=85)


def draw_supmix() -> None:
    """Donor, receiver, mix and what the student sees."""

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
    figure.savefig(RESULTS / "supmix.png", dpi=80)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photograph", help="photograph to segment; none leaves that picture as it is")
    arguments = parser.parse_args()
    draw_supmix()
    if arguments.photograph:
        draw_inference(arguments.photograph)
