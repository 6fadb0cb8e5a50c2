"""Generate with vLLM as its own users do, for bench/engine.py, which starts this with the Python that has vLLM.

First line of standard input: a JSON object with `model` (a directory), `dtype`, `length` of the context, `prompts`
(lists of ids), `samples` per prompt, `tokens`, `temperature`, `stops`, `stop_ids`, `eager`. Every further line asks for
one run over all prompts and is answered by a JSON line: `seconds`, `processor_seconds`, `tokens` of every sample. It is
vLLM's own sampler with its own stop texts; the prefix cache is emptied before each run, so that no run has what another
computed.
"""

import json
import os
import sys
import time

# Answers go where standard output went; whatever vLLM prints goes to standard error.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
SURROUNDINGS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "2",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
}


def main() -> None:
    os.environ.update(SURROUNDINGS)
    from vllm import LLM, SamplingParams

    asked = json.loads(sys.stdin.readline())
    llm = LLM(
        model=asked["model"], dtype=asked["dtype"], max_model_len=asked["length"], enforce_eager=asked["eager"], seed=0
    )
    prompts = [{"prompt_token_ids": ids} for ids in asked["prompts"]]
    how = SamplingParams(
        n=asked["samples"],
        temperature=asked["temperature"],
        max_tokens=asked["tokens"],
        stop=asked["stops"],
        stop_token_ids=asked["stop_ids"],
    )
    answer({"ready": True})
    for _ in sys.stdin:
        llm.reset_prefix_cache()
        began, worked = time.perf_counter(), time.process_time()
        written = llm.generate(prompts, how, use_tqdm=False)
        seconds, processor = time.perf_counter() - began, time.process_time() - worked
        tokens = [len(sample.token_ids) for row in written for sample in row.outputs]
        answer({"seconds": seconds, "processor_seconds": processor, "tokens": tokens})


def answer(content: dict[str, object]) -> None:
    print(json.dumps(content), file=ANSWERS, flush=True)


if __name__ == "__main__":
    main()
