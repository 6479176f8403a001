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


"""What is kept beside a network's weights of how Dice follows from agreement."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from monai_sscm.io.writing import write_whole
from monai_sscm.metrics import Calibration

__all__ = ["read_calibration", "write_calibration"]

_NAME = "quality.json"


def read_calibration(checkpoint: str | Path | Sequence[str | Path] | None) -> Calibration | str | None:
    """
    How Dice follows from agreement for the network of a checkpoint.

    Args:
        checkpoint: its file, beside which ``quality.json`` has it; of several networks or None nothing is known.

    Returns:
        the line, or why there is none; None where nothing is known, or it is of other weights.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from monai_sscm.handlers import read_calibration, write_calibration
        >>> weights = Path(tempfile.mkdtemp()) / "model.pt"
        >>> _ = weights.write_bytes(b"weights")
        >>> write_calibration("there are no validation images", weights)
        >>> read_calibration(weights)
        'there are no validation images'
        >>> _ = weights.write_bytes(b"others")
        >>> read_calibration(weights) is None
        True
    """
    if not isinstance(checkpoint, (str, Path)):
        if checkpoint is None or len(checkpoint) != 1:
            return None
        checkpoint = checkpoint[0]
    try:
        content = json.loads(Path(checkpoint).with_name(_NAME).read_text("utf-8"))
        if content["weights"] != _digest(checkpoint):
            return None
        return str(content["reason"]) if content["line"] is None else Calibration(**content["line"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_calibration(found: Calibration | str, checkpoint: str | Path) -> None:
    """
    Keep it beside the weights.

    Args:
        found: what :py:func:`monai_sscm.metrics.fit_calibration` returned.
        checkpoint: file of the weights.

    Raises:
        OSError: when it cannot be written.
    """
    is_reason = isinstance(found, str)
    content = {"line": None if is_reason else asdict(found), "reason": found if is_reason else None}  # type: ignore[arg-type]
    text = json.dumps({"weights": _digest(checkpoint), **content}, indent=1) + "\n"
    write_whole(Path(checkpoint).with_name(_NAME), lambda part: part.write_text(text, "utf-8"))


def _digest(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
