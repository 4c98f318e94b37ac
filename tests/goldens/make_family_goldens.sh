#!/bin/bash
# Makes tests/data/families anew. Needs a Python with torch, transformers and safetensors:
#   tests/goldens/make_family_goldens.sh [PYTHON]
# oneDNN is capped because some machines announce AMX and then refuse its instructions.
set -eu
cd "$(dirname "$0")/../.."
export ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16
exec "${1:-python3}" tests/goldens/make_families.py --out tests/data/families
