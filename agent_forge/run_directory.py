"""A run directory: what each stage wrote, the receipt that proves it, and the lock that keeps a second process out.

    DIR/stages/<stage>[/<instance>]/   artifacts and receipt.json, moved here whole when the stage has ended
    DIR/partial/<stage>[/<instance>]/  the same while the stage runs: key, out/ and scratch/, used again by a resume
    DIR/run.json                       which run this is, and which of the stages belong to it
    DIR/events.jsonl                   one line whenever a stage begins, ends or is found done

A receipt's key is a digest of the code, the configuration fields of that stage and the digests of its inputs. A stage
whose receipt has the key it would have now is done; so a changed field re-runs exactly the stages it feeds.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import filelock

from agent_forge.config import QuietSTaRConfig, stage_values
from agent_forge.errors import ForgeError, OutputError
from agent_forge.records import Cost, Receipt, RunRecord, read_record
from agent_forge.stages.context import StageOutcome
from agent_forge.storage.code import source_sha256
from agent_forge.storage.files import move_into_place, path_digest, unwritable, write_atomic, writing_to

RECEIPT = "receipt.json"
PARAMETERS = "parameters.json"
RUN = "run.json"
RESULTS = "results.json"


class RunDirectory:
    """The stages' places in one run directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for this process.

        Raises:
            OutputError: when another process holds it, or it cannot be written to.
        """
        with writing_to(self.root):
            self._make_root()
            lock = filelock.FileLock(self.root / ".lock")
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout as cause:
                raise OutputError(
                    f"{self.root} is in use by another run; wait for it or choose another --out"
                ) from cause
        try:
            yield
        finally:
            lock.release()

    @property
    def begun(self) -> bool:
        """Whether a run has left something here."""
        return any((self.root / name).exists() for name in ("stages", "partial"))

    def key(self, stage: str, config: QuietSTaRConfig, inputs: Mapping[str, str], parameters: Mapping[str, str]) -> str:
        """Return the digest of everything that decides what a stage writes."""
        content = {
            "stage": stage,
            "code": source_sha256(),
            "config": stage_values(config, stage),
            "inputs": dict(inputs),
            "parameters": dict(parameters),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def final(self, name: str) -> Path:
        """Return where a finished stage's files are; `name` is `<stage>` or `<stage>/<instance>`."""
        return self.root / "stages" / name

    def receipt(self, name: str, key: str) -> Receipt | None:
        """Return a stage's receipt when it ran with this key and its files are still what it wrote."""
        path = self.final(name) / RECEIPT
        if not path.is_file():
            return None
        try:
            receipt = read_record(Receipt, path)
            whole = all(path_digest(self.final(name) / file) == digest for file, digest in receipt.outputs.items())
        except ForgeError:
            return None
        return receipt if whole and receipt.key == key else None

    def parameters(self, name: str) -> dict[str, str]:
        """Return the small outputs of a finished stage."""
        values: dict[str, str] = json.loads((self.final(name) / PARAMETERS).read_text(encoding="utf-8"))
        return values

    def begin(self, name: str, key: str) -> Path:
        """Return the place for a stage that runs now; what an earlier run with another key left is removed."""
        place = self.root / "partial" / name
        with writing_to(self.root):
            if (place / "key").is_file() and (place / "key").read_text(encoding="utf-8") != key:
                shutil.rmtree(place)
            # Outputs are written anew; only scratch continues.
            shutil.rmtree(place / "out", ignore_errors=True)
            (place / "out").mkdir(parents=True)
            (place / "scratch").mkdir(exist_ok=True)
            write_atomic(place / "key", key)
        return place

    def finish(self, name: str, key: str, inputs: Mapping[str, str], outcome: StageOutcome) -> Receipt:
        """Write the receipt and move a stage's files to their final place."""
        place = self.root / "partial" / name
        out = place / "out"
        with writing_to(self.root):
            # Both are forced to disk with everything else that is moved.
            (out / PARAMETERS).write_text(json.dumps(dict(outcome.parameters), sort_keys=True), encoding="utf-8")
            receipt = Receipt(
                stage=name,
                key=key,
                inputs=dict(inputs),
                outputs={path.name: path_digest(path) for path in sorted(out.iterdir())},
                cost=outcome.cost,
                warnings=outcome.warnings,
                computed_by=outcome.computed_by,
                finished_at=_now(),
            )
            (out / RECEIPT).write_text(receipt.model_dump_json(indent=2) + "\n", encoding="utf-8")
            move_into_place(out, self.final(name))
            shutil.rmtree(place)
        return receipt

    def write_run(self, run: RunRecord) -> None:
        """Write down which run this is."""
        write_atomic(self.root / RUN, run.model_dump_json(indent=2) + "\n")

    def ended(self, bake_id: str) -> bool:
        """Whether the run that is here has come to its end, with this bake."""
        if not (self.root / RUN).is_file():
            return False
        run = read_record(RunRecord, self.root / RUN)
        return run.champion.bake_id == bake_id and bool({"push-artifact", "keep-champion"} & set(run.stages))

    def tidy(self) -> None:
        """Remove what stages that ended have left behind; for a run that is through."""
        with writing_to(self.root):
            shutil.rmtree(self.root / "partial", ignore_errors=True)
            for left in self.root.glob("*/.*.preparing"):
                shutil.rmtree(left, ignore_errors=True)

    def log(self, event: str, stage: str, cost: Cost | None = None) -> None:
        """Add a line to the run's events, in place of one that a full disk has torn."""
        line = {"time": _now(), "event": event, "stage": stage, "pid": os.getpid()}
        if cost is not None:
            line["cost"] = cost.model_dump(mode="json")
        path = self.root / "events.jsonl"
        with writing_to(self.root), path.open("ab") as stream:
            stream.truncate(path.read_bytes().rfind(b"\n") + 1)
            stream.write(json.dumps(line).encode() + b"\n")

    def _make_root(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as cause:
            if unwritable(cause) is not None:
                raise
            # Below /proc, for one, a directory that cannot be made "does not exist".
            raise OutputError(f"cannot make {self.root}: {cause.strerror}; choose another directory") from cause


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
