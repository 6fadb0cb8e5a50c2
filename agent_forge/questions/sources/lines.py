"""JSON lines as found on a user's disk."""

import json
from collections.abc import Iterator
from pathlib import Path

from agent_forge.errors import QuestionError


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield `file:line` and the object of every line that is not blank.

    Raises:
        QuestionError: when the file cannot be read, a line is no JSON object, or there is none.
    """
    empty = True
    try:
        # Only \n ends a line: U+2028 and others may stand inside a JSON text.
        with path.open(encoding="utf-8-sig", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    empty = False
                    yield (where := f"{path}:{number}"), json_object(line, where)
    except (OSError, ValueError) as cause:
        raise QuestionError(f"cannot read questions {path}: {cause}; a file of JSON lines is expected") from cause
    if empty:
        raise QuestionError(f"{path} holds no questions; one JSON object per line is expected")


def json_object(line: str, where: str) -> dict[str, object]:
    """Return the object that a line holds; raises QuestionError naming the place when it holds none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as cause:
        raise QuestionError(f"{where}: not JSON: {cause}; one JSON object per line is expected") from cause
    if not isinstance(row, dict):
        raise QuestionError(f"{where}: a {type(row).__name__}; one JSON object per line is expected")
    return row
