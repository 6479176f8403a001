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
What a mix does to the classes that the student sees, and how much of what it sees is pasted.

    python benchmarks/class_prior.py covid19_ct --dataset_dir data/covid19_ct --checkpoint runs/.../models/model.pt

Of batches as the bundle trains on, with the checkpoint's teacher, in percent: the share of every class in the labelled
crops, in the pseudo-labels and in the mixed targets, the share of pixels that are pasted, and of the loss's weight that
they have. On CT also the share of pasted lesion pixels that land on lung or lesions (what the receiver shows below -300
HU, or is pseudo-labelled as). Validation and test parts are not read.
"""

from __future__ import annotations

import argparse
import tempfile

import torch
from monai.bundle import ConfigWorkflow

from monai_sscm.bundle import find_bundle
from monai_sscm.networks import load_weights
from monai_sscm.study import markdown_row, markdown_table
from monai_sscm.transforms import LUNG_WINDOW

BUNDLES = {"chase": "chase_vessel_segmentation", "covid19_ct": "covid19_ct_segmentation"}
VARIANTS: dict[str, dict[str, tuple[str, dict[str, object]]]] = {
    "chase": {
        "ClassMix": ("classmix", {}),
        "SupMix, vessels alone": ("supmix", {"paste_margin": 0}),
        "SupMix, with a margin (default)": ("supmix", {}),
    },
    "covid19_ct": {
        "ClassMix": ("classmix", {}),
        "SupMix, naive: donors from anywhere": ("supmix", {"align_donors": "false"}),
        "SupMix, donors in place (default)": ("supmix", {}),
        "SupMix, donors in place, half of the classes": ("supmix", {"paste_classes": "random_half"}),
        "SupMix, donors in place, onto half of the slices": ("supmix", {"paste_prob": 0.5}),
    },
}


def shares(label: torch.Tensor, num_classes: int) -> torch.Tensor:
    return torch.bincount(label.flatten().long(), minlength=num_classes) / label.numel() * 100


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=BUNDLES)
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--seed", type=int, default=10)
    parser.add_argument("--batches", type=int, default=50)
    args = parser.parse_args()
    config = f"{find_bundle(BUNDLES[args.data])}/configs/train.yaml"
    low, high = LUNG_WINDOW
    tissue = (-300 - low) / (high - low)
    heads = ["mix", "labelled crops", "pseudo-labels", "mixed targets", "pasted pixels", "their weight"]
    heads += ["pasted onto lung or lesion"] if args.data == "covid19_ct" else []
    print(markdown_table(heads))
    for name, (method, values) in VARIANTS[args.data].items():
        with tempfile.TemporaryDirectory() as output_dir:
            values = {**values, "dataset_dir": args.dataset_dir, "output_dir": output_dir, "seed": args.seed}
            values |= {"method": method, "epoch_length": args.batches}
            values |= {"unlabeled_images": "false"} if args.data == "covid19_ct" else {}
            run = ConfigWorkflow(config, workflow_type="train", logging_file=False, **values)
            run.initialize()
            trainer = run.parser.get_parsed_content("train#trainer")
            load_weights(trainer.teacher, args.checkpoint)
            names = run.parser.get_parsed_content("class_names")
            found = {key: torch.zeros(len(names)) for key in ("label", "pseudo_label", "mixed_label")}
            landed, lesions, pasted, pixels, weight, pasted_weight = 0, 0, 0, 0, 0.0, 0.0
            for batch in trainer.data_loader:
                plain = {key: torch.as_tensor(value) for key, value in batch.items() if isinstance(value, torch.Tensor)}
                plain |= trainer.pseudo_labeler(trainer.teacher(plain["unlabeled_image"]))
                mixed = trainer.views[0].mix(plain)
                for key, total in found.items():
                    total += shares(mixed[key], len(names)) / args.batches
                mask = mixed["mixed_mask"]
                pasted, pixels = pasted + int(mask.sum()), pixels + mask.numel()
                weight += float(mixed["mixed_weight"].sum())
                pasted_weight += float((mixed["mixed_weight"] * mask).sum())
                lung = (mixed["unlabeled_image"] < tissue) | (mixed["pseudo_label"] > 0)
                lesion = mask & (mixed["mixed_label"] > 0)
                landed, lesions = landed + int((lesion & lung).sum()), lesions + int(lesion.sum())
        columns = [", ".join(f"{x:.1f}" for x in total.tolist()) for total in found.values()]
        columns += [f"{100 * pasted / pixels:.0f}", f"{100 * pasted_weight / weight:.0f}"]
        columns += [f"{100 * landed / lesions:.0f}"] if args.data == "covid19_ct" else []
        print(markdown_row([name, *columns]), flush=True)


if __name__ == "__main__":
    main()
