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

from __future__ import annotations

from .agreement import ViewAgreement
from .calibration import read_calibration, write_calibration
from .checkpoint import CheckpointHandler, has_checkpoint
from .discriminator import DiscriminatorStats
from .federated import FederatedRounds
from .findings import FindingsWriter, findings
from .image_features import ImageFeatures
from .image_scores import ImageScores, images_to_score
from .metrics import hausdorff_metrics, segmentation_metrics
from .overlay import OverlayHandler, overlay
from .predictions import PredictionSaver
from .progress import PredictionProgress, ScoreTable, TrainingProgress
from .pseudo_labels import PseudoLabelStats, pseudo_label_stats
from .quality import QualityWriter
from .run_bundle import RunBundleWriter
from .run_folder import claim_folder, release_folder, set_aside
from .saving import check_writable, save_checkpoint
from .scalars import scalars

__all__ = [
    "CheckpointHandler",
    "DiscriminatorStats",
    "FederatedRounds",
    "FindingsWriter",
    "ImageFeatures",
    "ImageScores",
    "OverlayHandler",
    "PredictionProgress",
    "PredictionSaver",
    "PseudoLabelStats",
    "QualityWriter",
    "RunBundleWriter",
    "ScoreTable",
    "TrainingProgress",
    "ViewAgreement",
    "check_writable",
    "claim_folder",
    "findings",
    "has_checkpoint",
    "hausdorff_metrics",
    "images_to_score",
    "overlay",
    "pseudo_label_stats",
    "read_calibration",
    "release_folder",
    "save_checkpoint",
    "scalars",
    "segmentation_metrics",
    "set_aside",
    "write_calibration",
]
