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
What a mix does to the classes that the student sees, and where the pasted lesions land.

    python benchmarks/class_prior.py --dataset_dir data/covid19_ct --checkpoint runs/.../last.pt

Of batches as the COVID-19 CT bundle trains on, with the checkpoint's teacher: the share of every class in the labelled
crops, in the pseudo-labels and in the mixed targets, and the share of pasted lesion pixels that land on lung or lesions
(what the receiver shows below -300 HU, or is pseudo-labelled as), in percent. Validation and test parts are not read.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from monai.bundle import ConfigWorkflow

from monai_sscm.bundle import find_bundle
from monai_sscm.networks import load_weights
from monai_sscm.transforms import LUNG_WINDOW

VARIANTS: dict[str, tuple[str, dict[str, object]]] = {
    "ClassMix": ("classmix", {}),
    "SupMix, naive: donors from anywhere": ("supmix", {"align_donors": "false"}),
    "SupMix, donors in place": ("supmix", {}),
    "SupMix, donors in place, half of the classes": ("supmix", {"paste_classes": "random_half"}),
    "SupMix, donors in place, onto half of the slices": ("supmix", {"paste_prob": 0.5}),
}


def shares(label: torch.Tensor, num_classes: int) -> torch.Tensor:
    return torch.bincount(label.flatten().long(), minlength=num_classes) / label.numel() * 100


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", default="data/covid19_ct")
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--seed", type=int, default=10)
    parser.add_argument("--batches", type=int, default=100)
    args = parser.parse_args()
    configs = Path(find_bundle("covid19_ct_segmentation")) / "configs"
    low, high = LUNG_WINDOW
    tissue = (-300 - low) / (high - low)
    print(
        "| mix | labelled crops | pseudo-labels | mixed targets | pasted onto lung or lesion |\n|---|---|---|---|---|"
    )
    for name, (override, values) in VARIANTS.items():
        with tempfile.TemporaryDirectory() as output_dir:
            values = {**values, "dataset_dir": args.dataset_dir, "output_dir": output_dir, "seed": args.seed}
            values |= {"unlabeled_images": "false", "epoch_length": args.batches}
            files = [str(configs / "train.yaml"), str(configs / f"{override}.yaml")]
            run = ConfigWorkflow(files, workflow_type="train", logging_file=False, **values)
            run.initialize()
            trainer = run.parser.get_parsed_content("train#trainer")
            load_weights(trainer.teacher, args.checkpoint)
            names = run.parser.get_parsed_content("class_names")
            found = {key: torch.zeros(len(names)) for key in ("label", "pseudo_label", "mixed_label")}
            landed, pasted = 0, 0
            for batch in trainer.data_loader:
                plain = {key: torch.as_tensor(value) for key, value in batch.items() if isinstance(value, torch.Tensor)}
                plain |= trainer._pseudo_label(plain["unlabeled_image"])
                mixed = trainer.views[0].mix(plain)
                for key, total in found.items():
                    total += shares(mixed[key], len(names)) / args.batches
                lung = (mixed["unlabeled_image"] < tissue) | (mixed["pseudo_label"] > 0)
                lesion = mixed["mixed_mask"] & (mixed["mixed_label"] > 0)
                landed, pasted = landed + int((lesion & lung).sum()), pasted + int(lesion.sum())
        columns = [", ".join(f"{x:.1f}" for x in total.tolist()) for total in found.values()]
        print(f"| {name} | {' | '.join(columns)} | {100 * landed / pasted:.0f} |", flush=True)


if __name__ == "__main__":
    main()
