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


"""What handlers write and warn."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from torch.utils.tensorboard import SummaryWriter


def warnings_of(run: Callable[[], object]) -> list[str]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run()
    return [str(warning.message) for warning in said]


class Recorder(SummaryWriter):
    def __init__(self, folder) -> None:
        super().__init__(str(folder))
        self.seen: list = []
        self.pictures: list = []

    def add_scalar(self, tag, value, step, *args, **kwargs):
        self.seen.append((tag, step))
        super().add_scalar(tag, value, step, *args, **kwargs)

    def add_image(self, tag, picture, step, *args, **kwargs):
        self.pictures.append((tag, tuple(picture.shape), step))
        super().add_image(tag, picture, step, *args, **kwargs)
