#!/usr/bin/env bash
# Install podman and what a base image is made with, on Debian, where they are missing; needs root for that.
set -euo pipefail
missing=()
for name in podman runc debootstrap; do
  PATH="$PATH:/usr/sbin" command -v "$name" >/dev/null || missing+=("$name")
done
[ "${#missing[@]}" -gt 0 ] || exit 0
command -v apt-get >/dev/null || { echo "docker/install_engine.sh: install ${missing[*]} by hand" >&2; exit 2; }
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
