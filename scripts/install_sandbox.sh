#!/usr/bin/env bash
# Install bubblewrap, the sandbox in which answers of kind code are run; does nothing where it is installed.
#
#     scripts/install_sandbox.sh
set -euo pipefail
if command -v bwrap > /dev/null; then
  exit 0
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo > /dev/null || ! sudo -n true 2> /dev/null; then
    echo "bubblewrap is not installed and only root may install it: apt-get install bubblewrap" >&2
    exit 1
  fi
  as_root=(sudo)
fi
if ! command -v apt-get > /dev/null; then
  echo "bubblewrap is not installed and there is no apt-get: install the package bubblewrap, 0.8 or newer" >&2
  exit 1
fi
install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends bubblewrap)
"${install[@]}" > /dev/null 2>&1 || { "${as_root[@]}" apt-get update > /dev/null && "${install[@]}" > /dev/null; }
bwrap --version >&2
