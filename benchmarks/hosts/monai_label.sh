#!/usr/bin/env bash
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
# Makes an environment with MONAI Label, beside which numpy is older than 2, and runs monai_label.py in it:
# benchmarks/hosts/monai_label.sh ../shared/data runs/monailabel runs/monailabel_venv
set -euo pipefail
data=$1 work=$2 venv=$3
root=$(cd "$(dirname "$0")/../.." && pwd)
if [ ! -x "$venv/bin/python" ]; then
    python3.11 -m venv "$venv"
    pip="$venv/bin/pip install -q"
    $pip torch==2.13.0 torchvision==0.28.0
    # MONAI Label's other apps need more: SAM 2, which is built from source, numpymaxflow and OpenSlide
    $pip --no-deps monailabel==0.8.5 pydicom-seg
    $pip 'numpy<2' monai==1.6.1 pytorch-ignite==0.5.5 scikit-image itk psutil pydantic pydantic-settings python-dotenv \
        fastapi python-multipart httpx uvicorn schedule expiringdict expiring_dict cachetools watchdog \
        'dicomweb-client>=0.59.1' pynetdicom girder-client ninja einops filelock passlib pyjwt bcrypt shapely requests \
        requests-toolbelt urllib3 scikit-learn google-auth timeloop 'jsonschema<4'
    # pydicom 3, which dicomweb-client asks for, has no longer the module that pydicom-seg takes a name from
    echo 'from pydicom.uid import SegmentationStorage' \
        > "$("$venv/bin/python" -c 'import pydicom; print(pydicom.__path__[0])')/_storage_sopclass_uids.py"
    $pip -e "$root"
fi
"$venv/bin/python" "$root/benchmarks/hosts/monai_label.py" --data_dir "$data" --work_dir "$work"
