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

"""Predictions as files that open in what the images were made with."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from ignite.engine import Engine, Events
from matplotlib import colormaps
from monai.data import MetaTensor
from monai.utils import ImageMetaKey
from PIL import Image

from .checkpoint import check_writable
from .overlay import overlay

__all__ = ["PredictionSaver"]


class PredictionSaver:
    """
    Handler of an evaluator: writes the mask of every image, at the image's size and the same way up.

    For pictures (PNG, JPEG, BMP, TIFF), ``<name>_seg.png``, whose pixels are class indices, with a palette so that they
    can be seen; for NIfTI images, ``<name>_seg.nii.gz`` with the image's affine. On request also the probabilities,
    ``<name>_prob_<class>.png`` (16 bit, 65535 stands for 1) or ``<name>_prob.nii.gz`` (classes along the last axis),
    and ``<name>_overlay.png``, the image under its mask. No file is there half-written.

    The evaluator decollates its batches; a sample has ``image``, as MONAI loaded it and not turned or cropped since,
    ``pred``, logits of the image's size, ``name``, see :py:func:`monai_sscm.data.inference_datalist`, and, if overlays
    are to show something else than ``image``, such as what it was before normalization, ``shown``.

    Args:
        output_dir: folder to write to, made if it is not there.
        class_names: names of the classes in the order of their indices.
        probabilities: whether to write probabilities.
        overlays: whether to write overlays.

    Raises:
        OSError: when the folder cannot be written to.
    """

    def __init__(
        self, output_dir: str | Path, class_names: Sequence[str], probabilities: bool = False, overlays: bool = False
    ) -> None:
        self.output_dir = Path(check_writable(output_dir))
        self.class_names = tuple(class_names)
        self.probabilities = probabilities
        self.overlays = overlays
        self.written: list[Path] = []

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: the evaluator.
        """
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        """
        Args:
            engine: the evaluator.
        """
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            self.save(item["name"], output["image"], output["pred"], item.get("shown", output["image"]))

    def save(self, name: str, image: MetaTensor, pred: torch.Tensor, shown: torch.Tensor) -> None:
        """
        Write the files of one image.

        Args:
            name: name of the files, without suffix; may have folders in it.
            image: ``(C, *spatial)``, with its metadata.
            pred: logits ``(classes, *spatial)``, or class indices ``(1, *spatial)``, uint8, where no probabilities are
                asked for.
            shown: what an overlay shows, of the image's size.
        """
        mask, prob = self._mask(pred)
        stem = self._stem(name)
        if str(image.meta[ImageMetaKey.FILENAME_OR_OBJ]).lower().endswith((".nii", ".nii.gz")):
            # the file's own dimensions, of which some may have been of length 1
            shape = [int(n) for n in np.asarray(image.meta["spatial_shape"]).ravel()]
            affine = np.asarray(image.meta["original_affine"], dtype=np.float64)
            self._write_nifti(mask.reshape(shape), affine, f"{stem}_seg.nii.gz")
            if self.probabilities:
                last = np.moveaxis(prob.reshape(len(prob), *shape), 0, -1)
                self._write_nifti(
                    last.reshape(*shape, *[1] * (3 - len(shape)), len(prob)), affine, f"{stem}_prob.nii.gz"
                )
        else:
            picture = Image.fromarray(mask)
            picture.putpalette(_palette(len(self.class_names)))
            self._write_png(picture, f"{stem}_seg.png")
            if self.probabilities:
                for class_name, p in zip(self.class_names, prob, strict=True):
                    self._write_png(
                        Image.fromarray((p * 65535).round().astype(np.uint16)), f"{stem}_prob_{class_name}.png"
                    )
        if self.overlays:
            self._write_overlay(shown, mask, f"{stem}_overlay.png")

    def _mask(self, pred: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Class indices, and the probabilities (none of a prediction that is class indices)."""
        x = torch.as_tensor(pred).detach()
        if x.dtype == torch.uint8:
            return x[0].cpu().numpy(), np.empty(0)
        prob = x.float().softmax(0).cpu().numpy()
        return prob.argmax(0).astype(np.uint8), prob

    def _stem(self, name: str) -> Path:
        stem = self.output_dir / name
        stem.parent.mkdir(parents=True, exist_ok=True)
        return stem

    def _write_overlay(self, shown: torch.Tensor, mask: np.ndarray, path: str) -> None:
        under = overlay(shown, torch.as_tensor(mask)[None])[..., shown.shape[2] :]
        self._write_png(Image.fromarray((under * 255).byte().permute(1, 2, 0).contiguous().numpy()), path)

    def _write_png(self, picture: Image.Image, path: str) -> None:
        self._write(Path(path), ".part", lambda part: picture.save(part, format="PNG"))

    def _write_nifti(self, array: np.ndarray, affine: np.ndarray, path: str) -> None:
        # nibabel goes by the suffix
        self._write(Path(path), ".part.nii.gz", lambda part: nibabel.save(nibabel.Nifti1Image(array, affine), part))

    def _write(self, path: Path, suffix: str, write: Callable[[Path], None]) -> None:
        """Write a file under its name only when it is whole."""
        part = path.with_name(path.name + suffix)
        try:
            write(part)
            os.replace(part, path)
        except OSError as e:
            raise OSError(
                f"The result {str(path)!r} cannot be written ({e.strerror}): make room, shorten the image's name, "
                "or set another `output_dir`."
            ) from e
        finally:
            if part.name in os.listdir(part.parent):
                part.unlink()
        self.written.append(path)


def _palette(num_classes: int) -> list[int]:
    """Black for the background, white for the one other class, or colours for several."""
    if num_classes == 2:
        return [0, 0, 0, 255, 255, 255]
    return [0, 0, 0, *(class_colours(num_classes) * 255).round().astype(int).ravel().tolist()]


def class_colours(num_classes: int) -> np.ndarray:
    """Red, green and blue, in [0, 1], of every class but the background."""
    return np.asarray(colormaps["tab10"](np.arange(num_classes - 1) % 10))[:, :3]
