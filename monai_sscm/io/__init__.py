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

import logging
import warnings

from .dicom import dicom_series
from .inference_inputs import ReadableImages, inference_datalist, stored_spacing
from .pictures import PictureReader
from .volumes import VolumeReader

__all__ = ["PictureReader", "ReadableImages", "VolumeReader", "dicom_series", "inference_datalist", "stored_spacing"]

# with pydicom, MONAI says at every loader that a decoder of its own DICOM reader is missing; ours needs none
logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", message="NvImgCodecPydicomReader: nvImageCodec decoder plugin did not register")
