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

from .compose import ForEachStreamD, ForEachStreamd, ForEachStreamDict, NoMetadataCompose
from .ct.array import EXPORT_WINDOW, LUNG_WINDOW, TakeSlice, ToHounsfield, export_window, in_lung_box, lung_box
from .ct.dictionary import TakeSliceD, TakeSliced, TakeSliceDict, ToHounsfieldD, ToHounsfieldd, ToHounsfieldDict
from .image.array import (
    BlackenBorder,
    EnsureImageChannels,
    KeepFieldOfView,
    ZoomToSide,
    field_of_view,
    resize_image,
    seen_size,
)
from .image.dictionary import (
    BlackenBorderD,
    BlackenBorderd,
    BlackenBorderDict,
    EnsureImageChannelsD,
    EnsureImageChannelsd,
    EnsureImageChannelsDict,
    KeepFieldOfViewD,
    KeepFieldOfViewd,
    KeepFieldOfViewDict,
    ZoomToSideD,
    ZoomToSided,
    ZoomToSideDict,
)
from .intensity.array import RandStrongIntensity
from .intensity.dictionary import RandStrongIntensityD, RandStrongIntensityd, RandStrongIntensityDict
from .intensity.low_resolution import (
    RandBatchLowResolution,
    RandBatchLowResolutionD,
    RandBatchLowResolutiond,
    RandBatchLowResolutionDict,
)
from .label.array import IGNORED, HideUnlabeled, KeepClassShares, MaskToIndex
from .label.crop import RandCropByClassesd
from .label.dictionary import (
    HideUnlabeledD,
    HideUnlabeledd,
    HideUnlabeledDict,
    KeepClassSharesD,
    KeepClassSharesd,
    KeepClassSharesDict,
    MaskToIndexD,
    MaskToIndexd,
    MaskToIndexDict,
)
from .mixing.base import PasteMix, PasteMixd
from .mixing.class_mix import ClassMix, ClassMixD, ClassMixd, ClassMixDict
from .mixing.cut_mix import CutMixSeg, CutMixSegD, CutMixSegd, CutMixSegDict
from .mixing.supervised_class_mix import (
    SupervisedClassMix,
    SupervisedClassMixD,
    SupervisedClassMixd,
    SupervisedClassMixDict,
)
from .spatial.affine import RandBatchAffine, RandBatchAffineD, RandBatchAffined, RandBatchAffineDict
from .spatial.array import RandSymmetry
from .spatial.dictionary import RandSymmetryD, RandSymmetryd, RandSymmetryDict

__all__ = [
    "EXPORT_WINDOW",
    "IGNORED",
    "LUNG_WINDOW",
    "BlackenBorder",
    "BlackenBorderD",
    "BlackenBorderDict",
    "BlackenBorderd",
    "ClassMix",
    "ClassMixD",
    "ClassMixDict",
    "ClassMixd",
    "CutMixSeg",
    "CutMixSegD",
    "CutMixSegDict",
    "CutMixSegd",
    "EnsureImageChannels",
    "EnsureImageChannelsD",
    "EnsureImageChannelsDict",
    "EnsureImageChannelsd",
    "ForEachStreamD",
    "ForEachStreamDict",
    "ForEachStreamd",
    "HideUnlabeled",
    "HideUnlabeledD",
    "HideUnlabeledDict",
    "HideUnlabeledd",
    "KeepClassShares",
    "KeepClassSharesD",
    "KeepClassSharesDict",
    "KeepClassSharesd",
    "KeepFieldOfView",
    "KeepFieldOfViewD",
    "KeepFieldOfViewDict",
    "KeepFieldOfViewd",
    "MaskToIndex",
    "MaskToIndexD",
    "MaskToIndexDict",
    "MaskToIndexd",
    "NoMetadataCompose",
    "PasteMix",
    "PasteMixd",
    "RandBatchAffine",
    "RandBatchAffineD",
    "RandBatchAffineDict",
    "RandBatchAffined",
    "RandBatchLowResolution",
    "RandBatchLowResolutionD",
    "RandBatchLowResolutionDict",
    "RandBatchLowResolutiond",
    "RandCropByClassesd",
    "RandStrongIntensity",
    "RandStrongIntensityD",
    "RandStrongIntensityDict",
    "RandStrongIntensityd",
    "RandSymmetry",
    "RandSymmetryD",
    "RandSymmetryDict",
    "RandSymmetryd",
    "SupervisedClassMix",
    "SupervisedClassMixD",
    "SupervisedClassMixDict",
    "SupervisedClassMixd",
    "TakeSlice",
    "TakeSliceD",
    "TakeSliceDict",
    "TakeSliced",
    "ToHounsfield",
    "ToHounsfieldD",
    "ToHounsfieldDict",
    "ToHounsfieldd",
    "ZoomToSide",
    "ZoomToSideD",
    "ZoomToSideDict",
    "ZoomToSided",
    "export_window",
    "field_of_view",
    "in_lung_box",
    "lung_box",
    "resize_image",
    "seen_size",
]
