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
Share of a training that is spent waiting for the loader, with the shipped configurations and real images.

    python benchmarks/loader.py --chase data/chase_db1 --covid19_ct data/covid19_ct

Trains two epochs of each bundle as shipped (SupMix + SUFD), and with the numbers of workers asked for, and adds up the
time from asking for a batch to having it in the second epoch. PyTorch has one thread, so that workers have the other
of two cores.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow

from monai_sscm.bundle import find_bundle
from monai_sscm.study import markdown_row, markdown_table

RESULTS = Path(__file__).parent / "results" / "loader.jsonl"


LABELED = {"chase_vessel_segmentation": 2, "covid19_ct_segmentation": 8}


def measure(bundle: str, dataset_dir: str, workers: int, output_dir: str) -> dict[str, Any]:
    values = {"dataset_dir": dataset_dir, "output_dir": output_dir, "num_workers": workers, "max_epochs": 2}
    values["num_labeled"] = LABELED[bundle]
    config = f"{find_bundle(bundle)}/configs/train.yaml"
    workflow = ConfigWorkflow(config, workflow_type="train", logging_file=False, **values, val_interval=100)
    workflow.initialize()
    trainer = workflow.parser.get_parsed_content("train#trainer")
    waited, begun, asked = [0.0], [0.0], [0.0]

    def start() -> None:
        begun[0], waited[0] = time.perf_counter(), 0.0

    def ask() -> None:
        asked[0] = time.perf_counter()

    def have() -> None:
        waited[0] += time.perf_counter() - asked[0]

    trainer.add_event_handler(Events.EPOCH_STARTED, start)
    trainer.add_event_handler(Events.GET_BATCH_STARTED, ask)
    trainer.add_event_handler(Events.GET_BATCH_COMPLETED, have)
    taken = [0.0]
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: taken.__setitem__(0, time.perf_counter() - begun[0]))
    workflow.run()
    steps = trainer.state.epoch_length
    return {
        "bundle": bundle,
        "workers": workers,
        "step_ms": round(1e3 * taken[0] / steps, 1),
        "waiting_ms": round(1e3 * waited[0] / steps, 2),
        "share": round(waited[0] / taken[0], 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chase", required=True, help="folder of CHASE_DB1")
    parser.add_argument("--covid19_ct", required=True, help="folder of the COVID-19 CT slices")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1])
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    print(markdown_table(["bundle", "workers for each stream", "step, ms", "waiting, ms", "share"]))
    for bundle, folder in {
        "chase_vessel_segmentation": args.chase,
        "covid19_ct_segmentation": args.covid19_ct,
    }.items():
        for workers in args.workers:
            with tempfile.TemporaryDirectory() as output_dir:
                row = measure(bundle, folder, workers, output_dir)
            rows.append(row)
            share = f"{100 * row['share']:.1f} %"
            print(markdown_row([bundle, workers, row["step_ms"], row["waiting_ms"], share]))
    RESULTS.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
