#!/usr/bin/env bash
# Make a Debian base image with Python 3.11 where no registry of images can be reached; see BASE_IMAGE in the Dockerfile.
#
#     docker/base.sh localhost/debian-python:bookworm
set -euo pipefail
image="${1:-localhost/debian-python:bookworm}"
mirror="${DEBIAN_MIRROR:-http://deb.debian.org/debian}"
root="$(mktemp -d)"
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase --include=python3,ca-certificates bookworm "$root/base" "$mirror" >&2
# What only installing packages needs.
rm -rf "$root/base/var/cache/apt" "$root/base/var/lib/apt/lists" "$root/base/usr/share/doc" \
  "$root/base/usr/share/man" "$root/base/usr/share/locale" "$root/base/var/log"
mkdir -p "$root/base/var/log" "$root/base/var/lib/apt/lists/partial" "$root/base/var/cache/apt/archives/partial"
tar -C "$root/base" -c . | podman import --quiet - "$image" >&2
echo "$image"
