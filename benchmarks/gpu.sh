#!/usr/bin/env bash
# What a machine with a GPU shows in 25 minutes: tests, mixed precision, compile, sliding windows, two processes, a 3D
# training at a real size. Results go to benchmarks/results/gpu.jsonl; see benchmarks/gpu.py for its arguments.
# The environment needs the package with its tests: pip install -e ".[test]", with a PyTorch for the GPU.
set -euo pipefail
exec "${PYTHON:-python}" "$(dirname "$0")/gpu.py" "$@"
