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


"""Which masks to look at first: a list of all, the worst first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from monai_sscm.io.writing import write_picture, write_table
from monai_sscm.metrics import Calibration, mean_of_classes

from .calibration import read_calibration
from .predictions import draw_prediction, stored_mask
from .saving import check_writable

__all__ = ["QualityWriter"]


class QualityWriter:
    """
    Handler of an evaluator: writes ``quality.csv``, a line for every mask, the worst first, and overlays of the worst.

    ``agreement`` is the mean over the classes of what :py:class:`ViewAgreement` found, in [0, 1], and each class has a
    column of its own; it is empty where no view found any class, and such images stand first, since nothing is known of
    them. With a calibration there is ``expected_dice``, and else ``calibration`` says "ranks only": then the order
    counts, and not the numbers.

    Args:
        output_dir: folder of the masks.
        class_names: names of the classes in the order of their indices.
        checkpoint: of the network, beside which it may be kept how Dice follows from agreement, see
            :py:func:`monai_sscm.handlers.read_calibration`. None: it is not known.
        num_overlays: of how many of the worst masks ``<name>_overlay.png`` is written, see
            :py:class:`PredictionSaver`.
        window: intensities that are black and white in overlays. None: the lowest and the highest.

    Raises:
        OSError: when the folder cannot be written to.
    """

    def __init__(
        self,
        output_dir: str | Path,
        class_names: Sequence[str],
        checkpoint: str | Path | Sequence[str] | None = None,
        num_overlays: int = 10,
        window: Sequence[float] | None = None,
    ) -> None:
        self.output_dir = Path(check_writable(output_dir))
        self.class_names = tuple(class_names)
        self.checkpoint = checkpoint
        self.calibration: Calibration | None = None
        self.num_overlays = num_overlays
        self.window = window
        self._rows: list[dict[str, Any]] = []
        self._drawn: dict[str, float] = {}

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: the evaluator, whose batches are decollated, with a :py:class:`ViewAgreement`.
        """
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self) -> None:
        found = read_calibration(self.checkpoint)
        self.calibration = found if isinstance(found, Calibration) else None
        self._rows, self._drawn = [], {}
        (self.output_dir / "quality.csv").unlink(missing_ok=True)  # of other masks

    def __call__(self, engine: Any) -> None:
        """
        Args:
            engine: the evaluator.
        """
        state = engine.state
        for item, output, scores in zip(state.batch, state.output, state.agreement, strict=True):
            mean = mean_of_classes(scores)
            row = {"case": item["name"], "agreement": mean}
            self._rows.append(row | dict(zip(self.class_names[1:], scores[1:].tolist(), strict=True)))
            if self._is_drawn(item["name"], mean):
                mask = stored_mask(output["image"], output["pred"])
                drawn = draw_prediction(output["image"], mask, item.get("shown"), self.window)
                write_picture(drawn, self._overlay(item["name"]))

    def _is_drawn(self, name: str, agreement: float) -> bool:
        """Whether a mask is among the worst until now; the overlay of one that no longer is goes."""
        self._drawn[name] = -1.0 if math.isnan(agreement) else agreement
        if len(self._drawn) <= self.num_overlays:
            return True
        best = max(self._drawn, key=lambda other: self._drawn[other])
        del self._drawn[best]
        if best != name:
            self._overlay(best).unlink(missing_ok=True)
        return best != name

    def _overlay(self, name: str) -> Path:
        return self.output_dir / f"{name}_overlay.png"

    def rows(self) -> list[dict[str, Any]]:
        """The lines of ``quality.csv``, the worst first; numbers that are not known are nan."""
        worst_first = sorted(self._rows, key=lambda row: -1.0 if math.isnan(row["agreement"]) else row["agreement"])
        rows = []
        for rank, row in enumerate(worst_first, start=1):
            expected = {} if self.calibration is None else {"expected_dice": self.calibration(row["agreement"])}
            classes = {f"agreement_{name}": row[name] for name in self.class_names[1:]}
            head = {"rank": rank, "case": row["case"], "agreement": row["agreement"]}
            rows.append(head | expected | classes | {"calibration": self._calibration_words()})
        return rows

    def _calibration_words(self) -> str:
        if self.calibration is None:
            return "ranks only"
        return f"{self.calibration.images} validation images, off by {self.calibration.error:.2f} in the mean"

    def _write(self) -> None:
        rows = self.rows()
        if not rows:
            return
        shown = [{k: _number(v) if isinstance(v, float) else v for k, v in row.items()} for row in rows]
        write_table(shown, self.output_dir / "quality.csv")
        meaning = "the order counts, not the numbers"
        if self.calibration is not None:
            meaning = f"expected Dice was calibrated on {self._calibration_words()}"
        names = ", ".join(row["case"] for row in rows[:3]) + ", ..." * (len(rows) > 3)
        print(f"Review first, as {str(self.output_dir / 'quality.csv')!r} lists them: {names} ({meaning}).", flush=True)


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"
