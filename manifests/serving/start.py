"""What a serving pod runs: check the model that was fetched against the promoted manifest, then start vLLM.

Python's standard library only, since it runs in vLLM's own image. The InferenceService, which `forge promote` wrote,
names the sha256 of the manifest; the manifest names that of every file. Whatever differs ends the pod with one line.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
BLOCK = 1 << 20


def main(arguments):
    """Check, then become vLLM's server; `arguments` are handed on to it."""
    model = Path(os.environ.get("QUIETSTAR_MODEL", "/mnt/models"))
    try:
        manifest = checked(model, os.environ.get("QUIETSTAR_MANIFEST_SHA256", ""))
        command = server(model, manifest, Path(os.environ.get("TMPDIR", "/tmp")) / "chat_template.jinja")
    except ValueError as problem:
        sys.exit(f"not served: {problem}")
    tokens = {"QUIETSTAR_START": start_of(manifest), "QUIETSTAR_END": end_of(manifest)}
    os.execvpe(command[0], [*command, *arguments], {**os.environ, **tokens})


def checked(model, digest):
    """Return the model's manifest, once it and every file that it names are what was promoted."""
    content = (model / "manifest.json").read_bytes() if (model / "manifest.json").is_file() else b""
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError(f"{model}/manifest.json is missing or is not the promoted one, sha256 {digest or 'not given'}")
    manifest = json.loads(content)
    for file in manifest["files"]:
        path = model / file["path"]
        if not path.is_file() or sha256(path) != file["sha256"]:
            raise ValueError(f"{file['path']} is missing or not as it was published")
    known = {"manifest.json", "manifest.json.minisig", *(file["path"] for file in manifest["files"])}
    for path in sorted(model.rglob("*")):
        name = path.relative_to(model).as_posix()
        # Whoever fetched the model may keep notes in hidden places; nothing is loaded from there.
        if not path.is_dir() and not name.startswith(".") and name not in known:
            raise ValueError(f"{name} is not in the manifest")
    return manifest


def sha256(path):
    """Return the digest of a file, read in blocks."""
    found = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            found.update(block)
    return found.hexdigest()


def server(model, manifest, template):
    """Return vLLM's command; where questions were not put by a chat template, write one that puts them the same way."""
    # As a module, since `vllm serve` looks for a package called vllm, which builds for other devices are not.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    # Left to itself, vLLM serves a model that is stored in float32 in half of that; it was not measured so.
    command += ["--dtype", dtype_of(model)]
    command += ["--reasoning-parser-plugin", str(HERE / "thought_parser.py"), "--reasoning-parser", "quietstar"]
    text = manifest["prompting"]["template_text"]
    if manifest["prompting"]["template"] == "chat":
        return command
    template.write_text(chat_template(text), encoding="utf-8")
    return [*command, "--chat-template", str(template)]


def dtype_of(model):
    """Return what the model's weights are stored in; `auto`, which is vLLM's own default, where that is not said."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    return config.get("dtype") or config.get("torch_dtype") or "auto"


def chat_template(text):
    """Return a chat template that puts the last message where `{prompt}` stands, and nothing else."""
    before, _, after = (json.dumps(part, ensure_ascii=False) for part in text.partition("{prompt}"))
    return f"{{{{- {before} }}}}{{{{- messages[-1]['content'] }}}}{{{{- {after} }}}}"


def start_of(manifest):
    """Return the token that opens a thought."""
    return manifest["config"]["start_thought_token"]


def end_of(manifest):
    """Return the token that closes a thought."""
    return manifest["config"]["end_thought_token"]


if __name__ == "__main__":
    main(sys.argv[1:])
