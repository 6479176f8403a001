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

"""A first look at all there is: two methods trained by the shipped bundle, a table and a picture."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigWorkflow
from PIL import Image

from monai_sscm.bundle import find_bundle
from monai_sscm.datasets import write_vessel_phantoms
from monai_sscm.handlers import check_writable, overlay

from .methods import METHODS
from .tables import markdown_table

__all__ = ["demo"]

_METHODS = ("supervised", "supmix_sufd")


def demo(
    dataset_dir: str | Path | None = None, output_dir: str | Path = "runs/demo", max_epochs: int = 6
) -> dict[str, dict[str, float]]:
    """
    Train supervised and with SupMix + SUFD from two labeled images, score both, and draw what they see.

    A smoke run, to see that everything works here: a few hundred steps with one seed prove nothing about the methods.

    Args:
        dataset_dir: folder of CHASE_DB1, or of photographs laid out like it, scored on their validation part at native
            size. None: procedural images are written to ``output_dir`` and used.
        output_dir: folder for the trainings, the table (``table.md``) and the picture (``overlay.png``).
        max_epochs: epochs of 50 steps.

    Returns:
        the scores of every method.
    """
    start = time.perf_counter()
    root = Path(check_writable(output_dir))
    values: dict[str, Any] = {"max_epochs": max_epochs, "val_interval": max_epochs, "rampup_steps": 100}
    if dataset_dir is None:
        dataset_dir = root / "phantoms"
        write_vessel_phantoms(dataset_dir, num_train=12, num_val=4, num_test=0)
        values["zoom"] = 1.0
    values["dataset_dir"] = str(dataset_dir)
    values["num_labeled"] = 2
    config = str(Path(find_bundle("chase_vessel_segmentation")) / "configs" / "train.yaml")
    scores: dict[str, dict[str, float]] = {}
    pictures: list[torch.Tensor] = []
    for name in _METHODS:
        title = METHODS[name].title
        print(f"{title}: {max_epochs * 50} steps", flush=True)
        run = _train(config, {**values, "method": name, "output_dir": str(root / name)})
        evaluator, dataset, inferer, network = (
            run.parser.get_parsed_content(part)
            for part in ("validate#evaluator", "validate#dataset", "validate#inferer", "teacher")
        )
        scores[title] = {k: 100 * v for k, v in evaluator.state.metrics.items()}
        item = dataset[0]
        with torch.no_grad():
            logits = inferer(item["image"].as_tensor()[None].to(evaluator.state.device), network)
        pictures.append(logits[0].argmax(0, keepdim=True).cpu())
    drawn = overlay(item["shown"], item["label"], *pictures)
    Image.fromarray((drawn * 255).byte().permute(1, 2, 0).contiguous().numpy()).save(root / "overlay.png")

    names = list(evaluator.state.metrics)
    rows = [[title, *(f"{score[name]:.1f}" for name in names)] for title, score in scores.items()]
    table = markdown_table(["method", *names], rows)
    (root / "table.md").write_text(table + "\n")
    labeled = run.parser.get_parsed_content("num_labeled")
    print(f"\n{labeled} labeled images, scored on {len(dataset)} others; the averaged teacher at the last step, in %:")
    print(f"\n{table}")
    print(f"\nThis took {time.perf_counter() - start:.0f} s. It is a smoke run: so few steps and one seed say nothing")
    print("about which method is better. The results are in the README.")
    print(f"\nTable:   {root / 'table.md'}\nPicture: {root / 'overlay.png'} (photograph, truth, {', '.join(scores)})")
    return scores


def _train(config: str, values: dict[str, Any]) -> ConfigWorkflow:
    """Train, and validate at the end, as ``python -m monai.bundle run`` does."""
    logging.disable(logging.WARNING)
    try:
        run = ConfigWorkflow(config, workflow_type="train", logging_file=False, **values)
        run.initialize()
        run.run()
        run.finalize()
    finally:
        logging.disable(logging.NOTSET)
    return run
