"""Nothing here is skipped: where the sandbox is missing, its tests fail with what to do."""

import pytest

from agent_forge.sandbox.judge import Verdict, judge
from agent_forge.sandbox.limits import Limits
from agent_forge.sandbox.probe import require_sandbox

SHORT = Limits(cpu_seconds=1, wall_seconds=3)
PROMPT = 'def f(x: int) -> int:\n    """Return the next number."""\n'
TESTS = "assert f(1) == 2\nassert f(5) == 6\n"


@pytest.fixture(scope="session")
def sandbox() -> None:
    require_sandbox()


@pytest.fixture
def judged(sandbox):
    """Judge a completion of `PROMPT`, or of another question."""

    def run(completion: str, tests: str = TESTS, prompt: str = PROMPT, names: tuple[str, ...] = ("f",)) -> Verdict:
        return judge(completion, prompt, names, tests, SHORT)

    return run
