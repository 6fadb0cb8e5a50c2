"""Serve a published model with a real vLLM by what the pods run, and see that thoughts stay out of its answers.

    python bench/serve_with_vllm.py MODEL --vllm-python PYTHON [--question "9-0+1-3 mod 10"] [--engine-option ...]

MODEL is a published model's directory (ROOT/baked/BAKE_ID), PYTHON an interpreter that vLLM is installed for. Starts
`manifests/serving/start.py` on this machine, with the manifest's digest as `forge promote` would state it, and asks

- the question whole and as a stream: thought and answer must be the same, with no thought token in either, and the
  model must have thought at all;
- the same with a thought token written into the question, which must not open the answer to thoughts;
- for an answer of a given form, which must be refused rather than silently not kept to.

Then feeds vLLM's own stream handling with completions of several thoughts, token by token, through the parser. Prints
what it found; exits 1 when something does not hold. Measures no speed.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SERVING = Path(__file__).resolve().parent.parent / "manifests" / "serving"
PORT = 18080
# Runs beside vLLM; the thoughts stand at several places, which a small model cannot be made to do.
STREAMED = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import thought_parser
from transformers import AutoTokenizer
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.parser import ParserManager
tokenizer = AutoTokenizer.from_pretrained(sys.argv[2])
kind = ParserManager.get_parser(reasoning_parser_name="quietstar")
start, end = os.environ["QUIETSTAR_START"], os.environ["QUIETSTAR_END"]
pieces = [start, "1+1=2", end, "A", start, "2+2=4", end, "B", start, "3"]
request = ChatCompletionRequest(messages=[{"role": "user", "content": "x"}], include_reasoning=True)
parser = kind(tokenizer, request.tools)
thought, answer = "", ""
prompt = tokenizer.encode("x" + end, add_special_tokens=False)
for number, piece in enumerate(pieces):
    ids = tokenizer.encode(piece, add_special_tokens=False)
    delta = parser.parse_delta(piece, ids, request, prompt, finished=number == len(pieces) - 1)
    thought += (delta and delta.reasoning) or ""
    answer += (delta and delta.content) or ""
whole = kind(tokenizer, request.tools).parse("".join(pieces), request)[:2]
print(json.dumps([[thought, answer], list(whole)]))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--vllm-python", required=True)
    parser.add_argument("--question", default="9-0+1-3 mod 10")
    parser.add_argument("--engine-option", action="append", default=[], help="handed on to vLLM; may be repeated")
    given = parser.parse_args()
    manifest = json.loads((given.model / "manifest.json").read_text())
    tokens = (manifest["config"]["start_thought_token"], manifest["config"]["end_thought_token"])
    with tempfile.TemporaryDirectory() as scratch:
        environment = surroundings(given.model, scratch)
        good = streamed_apart(given.vllm_python, given.model, environment, tokens)
        with serving(given.vllm_python, given.engine_option, environment):
            good &= asked(given.question, tokens) & asked(f"{given.question} {tokens[1]}", tokens)
            good &= refused(given.question)
    return 0 if good else 1


def surroundings(model: Path, scratch: str) -> dict[str, str]:
    digest = hashlib.sha256((model / "manifest.json").read_bytes()).hexdigest()
    own = {"QUIETSTAR_MODEL": str(model.resolve()), "QUIETSTAR_MANIFEST_SHA256": digest, "TMPDIR": scratch}
    return {**os.environ, **own, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


@contextmanager
def serving(python: str, options: list[str], environment: dict[str, str]) -> Iterator[None]:
    """Run the pod's command until its server answers, and end it afterwards."""
    command = [python, str(SERVING / "start.py"), f"--port={PORT}", "--host=127.0.0.1", "--served-model-name=sums"]
    log = Path(environment["TMPDIR"]) / "log"
    with log.open("w") as stream:
        server = subprocess.Popen([*command, *options], env=environment, stdout=stream, stderr=stream)
        try:
            for _ in range(600):
                if server.poll() is not None:
                    raise SystemExit(f"the server ended: {log.read_text()[-3000:]}")
                if answers():
                    break
                time.sleep(1)
            yield
        finally:
            server.terminate()
            server.wait()


def answers() -> bool:
    try:
        return bool(urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=5).status == 200)
    except OSError:
        return False


def post(**fields: object) -> list[dict[str, object]]:
    """Ask; return the answer, or the pieces of a stream."""
    body = json.dumps({"model": "sums", "temperature": 0, "max_tokens": 96, **fields}).encode()
    address = f"http://127.0.0.1:{PORT}/v1/chat/completions"
    request = urllib.request.Request(address, body, {"content-type": "application/json"})
    text = urllib.request.urlopen(request, timeout=300).read().decode()
    if not fields.get("stream"):
        return [json.loads(text)]
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def asked(question: str, tokens: tuple[str, str]) -> bool:
    """Ask whole and as a stream; say what came and whether that is right."""
    messages = [{"role": "user", "content": question}]
    (whole,) = post(messages=messages)
    message = whole["choices"][0]["message"]
    found = (message.get("reasoning") or "", message.get("content") or "")
    deltas = [choice["delta"] for piece in post(messages=messages, stream=True) for choice in piece.get("choices", ())]
    streamed = tuple("".join(delta.get(name) or "" for delta in deltas) for name in ("reasoning", "content"))
    said = "the same" if streamed == found else f"{streamed}"
    print(f"{question!r}: thought {found[0]!r}, answer {found[1]!r}, streamed {said}")
    return streamed == found and bool(found[0]) and not any(token in text for token in tokens for text in found)


def refused(question: str) -> bool:
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "integer"}}}
    try:
        (answer,) = post(messages=[{"role": "user", "content": question}], response_format=form)
    except urllib.error.HTTPError as refusal:
        text = json.loads(refusal.read())["error"]["message"]
        print(f"an answer of a form: {refusal.code}, {text!r}")
        return refusal.code == 400
    print(f"an answer of a form: not refused, {answer}")
    return False


def streamed_apart(python: str, model: Path, environment: dict[str, str], tokens: tuple[str, str]) -> bool:
    told = {**environment, "QUIETSTAR_START": tokens[0], "QUIETSTAR_END": tokens[1]}
    command = [python, "-c", STREAMED, str(SERVING), str(model)]
    done = subprocess.run(command, env=told, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    streamed, whole = json.loads(done.stdout.splitlines()[-1])
    print(f"several thoughts: streamed {streamed}, whole {whole}")
    return bool(streamed == whole == ["1+1=2\n2+2=4\n3", "AB"])


if __name__ == "__main__":
    sys.exit(main())
