#!/usr/bin/env bash
# Write docker/requirements.lock anew: the newest versions that fit, as a fresh environment resolves them.
set -euo pipefail
cd "$(dirname "$0")/.."
place="$(mktemp -d)"
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3.11}" -m venv "$place"
"$place/bin/pip" install --quiet --requirement docker/torch.txt
"$place/bin/pip" install --quiet ".[datasets,gguf,math]"
{
  echo "# Written by docker/lock.sh: every package of the image besides torch and what torch brings for its device."
  "$place/bin/pip" freeze --exclude torch --exclude triton --exclude agent-forge | grep -v -i -E '^(nvidia|cuda)' | LC_ALL=C sort -f
} > docker/requirements.lock
