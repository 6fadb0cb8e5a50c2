"""What honest programs may rely on, and what verdicts say."""

import subprocess
import sys
import threading
import time

import psutil
import pytest

from agent_forge.errors import InputError
from agent_forge.sandbox import judge as judging
from agent_forge.sandbox.judge import judge
from agent_forge.sandbox.limits import Limits

CLASSES = """class Pair:
    def __init__(self, a, b):
        self.a, self.b = a, b
    def total(self):
        return self.a + self.b

def f(pairs):
    return max(pair.total() for pair in pairs)
"""


@pytest.mark.parametrize(
    ("completion", "outcome", "detail"),
    [
        ("    return x + 1\n", "passed", ""),
        ("    return x\n", "wrong answer", "assert f(1) == 2"),
        ("    return None + x\n", "raised", "TypeError: assert f(1) == 2"),
        ("    raise SystemExit\n", "raised", "SystemExit: assert f(1) == 2"),
        ("I do not know.", "no program", ""),
        ("1 / 0\ndef f(x):\n    return x + 1\n", "raised", "ZeroDivisionError while it was loaded"),
        ("return 3\ndef f(x):\n    return x + 1\n", "raised", "SyntaxError while it was loaded"),
        ("    while True: pass\n", "timed out", ""),
        ("    import os; os._exit(0)\n", "ended", "its process ended itself"),
        ("    import os; os.abort()\n", "ended", "its process was ended by signal 6"),
        ("    return bytearray(2**40)\n", "raised", "MemoryError: assert f(1) == 2"),
    ],
)
def test_a_verdict_says_what_happened_and_where(judged, completion: str, outcome: str, detail: str) -> None:
    first = judged(completion)
    assert (first.outcome, first.detail) == (outcome, detail)
    assert judged(completion) == first


@pytest.mark.parametrize(
    ("body", "tests"),
    [
        ("    return {x: (x, [x]), None: {1, 2}}\n", "assert f(1) == {1: (1, [1]), None: {2, 1}}\n"),
        ("    return 2**5000\n", "assert f(1) == 2**5000\n"),
        ("    return float('nan')\n", "assert f(1) != f(1)\n"),
        ("    return (y for y in range(x))\n", "assert list(f(3)) == [0, 1, 2]\n"),
        ("    yield from range(x)\n", "assert sum(f(3)) == 3\n"),
        ("    return x(3)\n", "assert f(lambda y: y * y) == 9\n"),
        ("    return sorted(x[0], key=x[1])\n", "assert f(([-3, 1, 2], abs)) == [1, 2, -3]\n"),
        ("    return isinstance(3, x)\n", "assert f(int) and not f(str)\n"),
        ("    x.sort()\n", "values = [3, 1, 2]\nf(values)\nassert values == [1, 2, 3]\n"),
        ("    x['a'] = 1\n", "values = {'b': 2}\nf(values)\nassert values == {'a': 1, 'b': 2}\n"),
        ("    raise ValueError('x')\n", "try:\n    f(1)\nexcept ValueError:\n    pass\nelse:\n    assert False\n"),
        ("    import random; return random.random()\n", "assert f(1) != f(1)\n"),
        ("    f.count = getattr(f, 'count', 0) + 1; return f.count\n", "f(0)\nassert f(0) == 2\n"),
        ("    from typing import List; import math, re, itertools; return math.isqrt(9)\n", "assert f(1) == 3\n"),
        ("    open('/tmp/a', 'w').write('5'); return int(open('/tmp/a').read())\n", "assert f(1) == 5\n"),
        ("    import numpy; return numpy.float64(1.5), numpy.int64(2)\n", "assert f(1) == (1.5, 2)\n"),
        ("    return 0.1 + 0.2\n", "import numpy as np\nassert np.allclose(f(1), 0.3)\n"),
        ("    return x if x < 2 else f(x - 1)\n", "assert f(900) == 1\n"),
    ],
)  # fmt: skip
def test_honest_programs_may_rely_on_it(judged, body: str, tests: str) -> None:
    verdict = judged(body, tests)
    assert verdict.passed, verdict


def test_tests_may_use_classes_of_the_program(judged) -> None:
    tests = "pair = Pair(1, 2)\npair.a = 10\nassert pair.a == 10 and pair.total() == 12\n"
    tests += "assert f([pair, Pair(3, 4)]) == 12\n"
    verdict = judged(CLASSES, tests, "Write it.", ("f", "Pair"))
    assert verdict.passed, verdict


def test_a_program_must_define_every_name(judged) -> None:
    verdict = judged("    return x + 1\n", "assert f(1) == 2 or g(1)\n", names=("f", "g"))
    assert (verdict.outcome, verdict.detail) == ("incomplete", "does not define g")


@pytest.mark.parametrize("tests", ["assert True\n", "pass\n", "assert callable(f)\n"])
def test_tests_that_never_call_the_program_prove_nothing(judged, tests: str) -> None:
    assert judged("    return x + 1\n", tests).outcome == "untested"


@pytest.mark.parametrize("tests", ["raise SystemExit\n", "f(1)\nimport os\nos._exit(0)\n", "f(1)\nwhile True: pass\n"])
def test_tests_that_do_not_come_to_their_end_prove_nothing(judged, tests: str) -> None:
    assert not judged("    return x + 1\n", tests).passed


def test_threads_may_judge_side_by_side(sandbox) -> None:
    found: dict[int, bool] = {}

    def run(number: int) -> None:
        completion = f"    return x + {number % 2}\n"
        prompt = 'def f(x):\n    """Next."""\n'
        found[number] = judge(completion, prompt, ["f"], "assert f(1) == 2\n", Limits(2, 20)).passed

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: number % 2 == 1 for number in range(6)}


def test_a_sandbox_that_does_not_come_up_is_no_wrong_answer(monkeypatch) -> None:
    """What cannot be judged must not count against a program."""
    from agent_forge.errors import SandboxError
    from agent_forge.sandbox import launch

    monkeypatch.setattr(launch, "_FIXED", ("--no-such-option",))
    monkeypatch.setattr(judging, "START_SECONDS", 10.0)
    with pytest.raises(SandboxError, match="did not come up"):
        judge("    return x + 1\n", 'def f(x):\n    """Next."""\n', ["f"], "assert f(1) == 2\n")


def test_without_bubblewrap_it_is_refused(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="install_sandbox"):
        judge("", "", ["f"], "f()")


LOOPING = """
from agent_forge.sandbox.judge import judge
from agent_forge.sandbox.limits import Limits
judge("    while True: pass", 'def f(x):\\n    "Next."\\n', ["f"], "f(1)", Limits(600, 600))
"""


def test_everything_ends_with_a_judge_that_is_killed(sandbox) -> None:
    judging_process = subprocess.Popen([sys.executable, "-c", LOOPING])
    try:
        family = psutil.Process(judging_process.pid)
        # Two sandboxes, each with its first process and what it runs.
        while len(started := family.children(recursive=True)) < 6:
            assert judging_process.poll() is None
            time.sleep(0.05)
    finally:
        judging_process.kill()
        judging_process.wait()
    _, alive = psutil.wait_procs(started, timeout=30)
    assert alive == []
