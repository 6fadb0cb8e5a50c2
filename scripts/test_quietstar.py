#!/usr/bin/env python3
"""Check this checkout: run its test suite with the Python that runs this script.

    python scripts/test_quietstar.py              everything
    python scripts/test_quietstar.py -k gate      arguments go to pytest

Exit codes: 0 all tests pass, 1 a test fails, 2 bad usage or a missing test dependency, 130 interrupted.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEEDED = ("pytest", "hypothesis", "agent_forge")


def main(arguments: list[str]) -> int:
    """Run pytest in the checkout; return the exit code."""
    if "-h" in arguments or "--help" in arguments:
        print(__doc__)
        return 0
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        print(
            f"test_quietstar: {missing[0]} is not installed for {sys.executable}; run `make install` and use "
            ".venv/bin/python, or pip install -e '.[dev]'",
            file=sys.stderr,
        )
        return 2
    try:
        code = subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=ROOT, check=False).returncode
    except KeyboardInterrupt:
        return 130
    # pytest: 1 failures, 2 interrupted, 3 internal error, 4 usage error, 5 no test selected.
    return {0: 0, 1: 1, 2: 130, 4: 2, 5: 2}.get(code, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
