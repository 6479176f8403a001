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
# Makes an environment with MONAI Deploy, on Linux, with or without a GPU, and runs deploy.py in it:
# benchmarks/hosts/deploy.sh ../shared/data runs/deploy runs/deploy_venv
set -euo pipefail
data=$1 work=$2 venv=$3
root=$(cd "$(dirname "$0")/../.." && pwd)
if [ ! -x "$venv/bin/python" ]; then
    python3.11 -m venv "$venv"
    pip="$venv/bin/pip install -q"
    $pip torch==2.13.0 wheel-axle-runtime cloudpickle typeguard colorama 'tritonclient[http]'
    $pip --no-deps holoscan-cu13==4.6.0 monai-deploy-app-sdk==4.0.0  # without CuPy, which a GPU needs
    $pip -c "$root/constraints.txt" -e "$root" highdicom
fi
"$venv/bin/python" "$root/benchmarks/hosts/deploy.py" --data_dir "$data" --work_dir "$work"
