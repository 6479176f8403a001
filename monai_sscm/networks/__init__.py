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

from .discriminator import FeatureDiscriminator
from .encoder import encoder_layers
from .ensemble import Ensemble, make_ensemble
from .feature_layer import FeatureLayer, find_feature_layer
from .features import FeatureDropout, FeatureTap
from .teacher import make_teacher, unwrap, update_teacher, weight_sums
from .views import make_views
from .weights import init_weights, load_checkpoint, load_weights, training_settings

__all__ = [
    "Ensemble",
    "FeatureDiscriminator",
    "FeatureDropout",
    "FeatureLayer",
    "FeatureTap",
    "encoder_layers",
    "find_feature_layer",
    "init_weights",
    "load_checkpoint",
    "load_weights",
    "make_ensemble",
    "make_teacher",
    "make_views",
    "training_settings",
    "unwrap",
    "update_teacher",
    "weight_sums",
]
