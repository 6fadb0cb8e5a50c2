#!/usr/bin/env bash
# Build one image: fetch the wheels of the lock file with this machine's pip, then build without network.
#
#     docker/build.sh cpu|gpu|submit [TAG]     BASE_IMAGE=... chooses the base, ENGINE=docker another engine
set -euo pipefail
cd "$(dirname "$0")/.."
target="${1:?cpu, gpu or submit}"
tag="${2:-agent-forge:$target}"
engine="${ENGINE:-podman}"
python="${PYTHON:-python3.11}"
# Where the CPU build of torch is offered by the same name as the others, an index of its own tells it apart.
torch_index="${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}"
case "$target" in
  cpu | gpu | submit) ;;
  *) echo "docker/build.sh: target is $target; expected cpu, gpu or submit" >&2; exit 2 ;;
esac
command -v "$engine" >/dev/null || { echo "docker/build.sh: $engine is not installed; install it or set ENGINE" >&2; exit 2; }
rm -rf build/wheels
mkdir -p build/wheels

# What is offered as source only is built here, where there are tools for it.
fetch() { "$python" -m pip wheel --quiet --wheel-dir build/wheels "$@"; }

"$python" -m pip wheel --quiet --no-deps --wheel-dir build/wheels .
fetch --no-deps pip
case "$target" in
  cpu)
    # The version alone names the CPU build where only that is offered; the index names it everywhere else.
    fetch --no-deps --requirement docker/torch.txt || fetch --no-deps --index-url "$torch_index" --requirement docker/torch.txt
    fetch --no-deps --requirement docker/requirements.lock
    ;;
  gpu)
    fetch --requirement docker/torch.txt
    fetch --no-deps --requirement docker/requirements.lock
    ;;
  submit) fetch --no-deps --requirement docker/submit.lock ;;
esac
# What is installed is exactly what was fetched.
(cd build/wheels && ls ./*.whl | grep -v '^./pip-' | sed 's|^|/wheels/|;s|/\./|/|') > build/wheels/requirements.txt
# Where the default base cannot be pulled, make one of Debian's own packages.
default_base="$(sed -n 's/^ARG BASE_IMAGE=//p' docker/Dockerfile)"
if [ -z "${BASE_IMAGE:-}" ] && ! "$engine" pull --quiet "$default_base" >/dev/null 2>&1; then
  made=localhost/debian-python:bookworm
  "$engine" image inspect "$made" >/dev/null 2>&1 || docker/base.sh "$made" >/dev/null
  BASE_IMAGE="$made"
fi
wheels="$(cd build/wheels && cat ./* | sha256sum | cut -d' ' -f1)"
base=()
[ -z "${BASE_IMAGE:-}" ] || base=(--build-arg "BASE_IMAGE=$BASE_IMAGE")
version="$("$python" -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])')"
revision="$(git rev-parse HEAD 2>/dev/null || echo unknown)"
format=()
if [ "$engine" = podman ]; then
  # Health checks are part of the docker format only; this isolation needs no rights that a CI container lacks.
  format=(--format docker)
  export BUILDAH_ISOLATION="${BUILDAH_ISOLATION:-chroot}"
fi
# A cluster reads a name without a registry as this one; podman would save it as localhost/... only.
also=()
case "$tag" in */*) ;; *) also=(--tag "docker.io/library/$tag") ;; esac
"$engine" build "${format[@]}" --file docker/Dockerfile --target "$target" --tag "$tag" "${also[@]}" \
  --build-arg "WHEELS=$wheels" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" "${base[@]}" .
"$engine" image inspect --format "$tag {{.Size}} bytes" "$tag"
