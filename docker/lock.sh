#!/usr/bin/env bash
# Write the lock files anew: the newest versions that fit, as fresh environments resolve them.
set -euo pipefail
cd "$(dirname "$0")/.."
place="$(mktemp -d)"
trap 'rm -rf "$place"' EXIT

lock() {  # lock FILE COMMENT PACKAGE...
  local file="$1" comment="$2"
  shift 2
  "${PYTHON:-python3.11}" -m venv --clear "$place"
  # What torch needs for its device comes with torch.
  [ "$file" = docker/submit.lock ] || "$place/bin/pip" install --quiet --requirement docker/torch.txt
  "$place/bin/pip" install --quiet "$@"
  {
    echo "# Written by docker/lock.sh: $comment"
    "$place/bin/pip" freeze --exclude torch --exclude triton --exclude agent-forge | grep -v -i -E '^(nvidia|cuda)' \
      | LC_ALL=C sort -f
  } > "$file"
}

lock docker/requirements.lock "what a stage needs besides torch." ".[datasets,gguf,math,s3,sign]"
lock docker/submit.lock "what submitting and scheduling need." kfp==2.17.0 kfp-kubernetes==2.17.0 "pydantic>=2.10,<3" "pyyaml>=6"
