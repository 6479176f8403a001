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

"""A first run of all there is: two methods trained by the shipped bundle, a table, and a picture to look at."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigWorkflow
from PIL import Image

from monai_sscm.bundle import find_bundle
from monai_sscm.data import write_vessel_phantoms
from monai_sscm.handlers import check_writable, overlay

__all__ = ["demo"]

#: name in the table, and the file on top of train.yaml
_METHODS = {"supervised": ["supervised"], "SupMix + SUFD": []}


def demo(
    dataset_dir: str | Path | None = None, output_dir: str | Path = "runs/demo", max_epochs: int = 6
) -> dict[str, dict[str, float]]:
    """
    Train supervised and with SupMix + SUFD from two labelled images, score both, and draw what they see.

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
    configs = Path(find_bundle("chase_vessel_segmentation")) / "configs"
    scores: dict[str, dict[str, float]] = {}
    pictures: list[torch.Tensor] = []
    for method, overrides in _METHODS.items():
        values["output_dir"] = str(root / (overrides or ["supmix_sufd"])[0])
        print(f"{method}: {max_epochs * 50} steps", flush=True)
        run = _train([str(configs / f"{name}.yaml") for name in ["train", *overrides]], values)
        evaluator, dataset, inferer, network = (
            run.parser.get_parsed_content(name)
            for name in ("validate#evaluator", "validate#dataset", "validate#inferer", "teacher")
        )
        scores[method] = {k: 100 * v for k, v in evaluator.state.metrics.items()}
        item = dataset[0]
        with torch.no_grad():
            logits = inferer(item["image"].as_tensor()[None].to(evaluator.state.device), network)
        pictures.append(logits[0].argmax(0, keepdim=True).cpu())
    drawn = overlay(item["image"], item["label"], *pictures)
    Image.fromarray((drawn * 255).byte().permute(1, 2, 0).contiguous().numpy()).save(root / "overlay.png")

    names = list(scores["supervised"])
    rows = [["method", *names], ["---"] * (1 + len(names))]
    rows += [[method, *(f"{score[name]:.1f}" for name in names)] for method, score in scores.items()]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    (root / "table.md").write_text(table + "\n")
    labeled = run.parser.get_parsed_content("num_labeled")
    print(f"\n{labeled} labelled images, scored on {len(dataset)} others; the averaged teacher at the last step, in %:")
    print(f"\n{table}")
    print(f"\nThis took {time.perf_counter() - start:.0f} s. It is a smoke run: so few steps and one seed say nothing")
    print("about which method is better. The results are in the README.")
    print(f"\nTable:   {root / 'table.md'}\nPicture: {root / 'overlay.png'} (photograph, truth, {', '.join(_METHODS)})")
    return scores


def _train(configs: list[str], values: dict[str, Any]) -> ConfigWorkflow:
    """Train, and validate at the end, as ``python -m monai.bundle run`` does, with the progress bar alone."""
    logging.disable(logging.WARNING)
    try:
        run = ConfigWorkflow(configs, workflow_type="train", logging_file=False, **values)
        run.initialize()
        run.run()
        run.finalize()
    finally:
        logging.disable(logging.NOTSET)
    return run
