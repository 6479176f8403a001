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
Time of mixing a batch, beside a loop over its samples as the published ClassMix and DACS code has it.

    python benchmarks/mixing.py

The loop does, for every sample, what the reference implementations do: read the classes back with ``unique``, choose
some of them with numpy, compare the label with each, and mix image, label and weight by multiplying with the mask and
its complement; then it stacks the samples. "One pass" is the time of ``torch.where`` over the same three tensors with a
mask that is there already: less is not possible. All three run in turn in one process; figures are medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from monai_sscm.study import markdown_row, markdown_table
from monai_sscm.transforms import ClassMix, SupervisedClassMix

RESULTS = Path(__file__).parent / "results" / "mixing.jsonl"
SETTINGS = [
    *((b, k, 3, (s, s)) for s in (128, 256, 512) for b in (4, 32) for k in (2, 8)),
    *((b, k, 1, (96, 96, 96)) for b in (2, 4) for k in (2, 8)),
]


def loop(
    receiver: list[torch.Tensor], donor: list[torch.Tensor], label: torch.Tensor, chosen: set[int] | None
) -> list[torch.Tensor]:
    """Sample by sample; ``chosen`` are the classes to paste, None: a random half of those present."""
    mixed: list[list[torch.Tensor]] = [[] for _ in receiver]
    random = np.random.default_rng()
    for i in range(len(label)):
        present = torch.unique(label[i]).cpu().numpy()
        if chosen is None:
            classes = random.choice(present, len(present) // 2, replace=False)
        else:
            classes = np.array([c for c in present if c in chosen])
        mask = torch.zeros_like(label[i], dtype=torch.float32)
        for c in classes:
            mask = mask + (label[i] == int(c)).float()
        for samples, x, y in zip(mixed, receiver, donor, strict=True):
            samples.append(mask * y[i] + (1 - mask) * x[i])
    return [torch.stack(samples) for samples in mixed]


def seconds(run: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="rounds of some calls of each")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    heads = ["method", "batch", "classes", "ours, ms", "loop, ms", "loop / ours", "ours / one pass"]
    print(markdown_table(heads))
    for method in ("SupMix", "ClassMix"):
        for batch_size, num_classes, channels, spatial in SETTINGS:
            g = torch.Generator().manual_seed(0)
            x, y = (torch.rand((batch_size, channels, *spatial), generator=g) for _ in range(2))
            # blobs, as labels are, and not noise
            coarse = torch.randint(0, num_classes, (2 * batch_size, 1, *(s // 16 for s in spatial)), generator=g)
            fine = torch.nn.functional.interpolate(coarse.float(), spatial).long()
            pseudo, label = fine[:batch_size], fine[batch_size:]
            weight, one = torch.rand(pseudo.shape, generator=g), torch.ones(pseudo.shape)
            if method == "SupMix":
                classes = tuple(range(1, num_classes, 2))
                mix = SupervisedClassMix(classes, num_classes, len(spatial))
                ours = lambda: mix((x, pseudo, weight), (y, label, None), label)  # noqa: E731, B023
                theirs = lambda: loop([x, pseudo, weight], [y, label, one], label, set(classes))  # noqa: E731, B023
                mask, donor = mix((x,), (y,), label)[1], (y, label, one)
            else:
                half = ClassMix(num_classes=num_classes, spatial_dims=len(spatial))
                donor = tuple(torch.roll(t, -1, 0) for t in (x, pseudo, weight))
                ours = lambda: half((x, pseudo, weight), pseudo)  # noqa: E731, B023
                theirs = lambda: loop([x, pseudo, weight], donor, donor[1], None)  # noqa: E731, B023
                mask = half((x,), pseudo)[1]
            one_pass = lambda: [torch.where(mask, d, r) for d, r in zip(donor, (x, pseudo, weight), strict=True)]  # noqa: E731, B023
            calls = max(1, int(0.03 / seconds(ours, 1)))
            times = [[seconds(run, calls) for run in (ours, theirs, one_pass)] for _ in range(args.rounds + 1)][1:]
            a, b, c = (1e3 * statistics.median(t[i] for t in times) for i in range(3))
            size = "x".join(map(str, (batch_size, channels, *spatial)))
            row = {"method": method, "batch": size, "classes": num_classes, "threads": args.threads}
            row |= {"ours_ms": round(a, 3), "loop_ms": round(b, 3), "one_pass_ms": round(c, 3)}
            rows.append(row)
            cells = [f"{a:.2f}", f"{b:.2f}", f"{b / a:.1f}", f"{a / c:.1f}"]
            print(markdown_row([method, size, num_classes, *cells]), flush=True)
    RESULTS.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
