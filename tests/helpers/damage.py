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

"""Files that are damaged: an error that names them, or a good result."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from monai.transforms import LoadImage
from PIL import Image

from monai_sscm.errors import raised_here, root_cause
from monai_sscm.io import PictureReader, VolumeReader

SHAPE = (24, 20, 6)


def scan() -> sitk.Image:
    values = np.random.default_rng(0).integers(-1000, 400, SHAPE[::-1]).astype(np.int16)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((0.7, 0.7, 5.0))
    return image


def write(path: Path) -> None:
    """An intact file of the kind that its name says."""
    rgb = np.random.default_rng(1).integers(0, 255, (20, 24, 3)).astype(np.uint8)
    if path.suffix in (".png", ".jpg", ".tif", ".bmp", ".gif", ".webp", ".ppm"):
        Image.fromarray(rgb[..., 0]).save(path)
    elif path.suffix == ".pt":
        torch.save({"weight": torch.rand(3, 2), "bias": torch.rand(3)}, path)
    elif path.suffix == ".json":
        path.write_text(json.dumps({"train": ["a", "b"], "val": ["c"], "test": []}))
    else:
        sitk.WriteImage(scan(), str(path), useCompression=path.suffix != ".nii")


def read_picture(path: Path) -> np.ndarray:
    return np.asarray(LoadImage(reader=PictureReader(), ensure_channel_first=True)(path))


def read_scan(path: Path) -> np.ndarray:
    return np.asarray(LoadImage(reader=VolumeReader(), ensure_channel_first=True)(path))


def within_seconds(run: Callable[[], object], seconds: int = 10) -> object:
    """What hangs is an error as well."""

    def stop(*args) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        return run()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def assert_good_or_told(read: Callable[[Path], np.ndarray], path: Path, intact: np.ndarray, altered: bool) -> bool:
    """
    Whether the file was refused; if it was not, it must give what the intact file gave, or, where ``altered`` values
    have no checksum to be known by, finite values.
    """
    try:
        found = within_seconds(lambda: read(path))
    except Exception as error:
        cause = root_cause(error)
        assert raised_here(cause) and isinstance(cause, (ValueError, OSError)), repr(cause)
        assert path.name in str(cause) and len(str(cause)) < 800, str(cause)
        return True
    assert np.isfinite(found).all()
    # without a checksum, a header that announces other sides cannot be known from a good one
    assert altered or np.array_equal(found, intact)
    return False


def assert_good_or_told_of_series(folder: Path) -> bool:
    try:
        within_seconds(lambda: read_scan(folder))
    except Exception as error:
        cause = root_cause(error)
        assert raised_here(cause) and str(folder) in str(cause), repr(cause)
        return True
    return False
