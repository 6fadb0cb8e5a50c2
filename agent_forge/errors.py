"""Every error this package raises on purpose, in one tree.

    ForgeError                 exit code
    ├── InputError             2   what the user gave is unusable
    │   ├── ConfigError        2   a field, a flag or a configuration file
    │   ├── ChampionError      2   a model or its tokenizer
    │   ├── QuestionError      2   a question set
    │   ├── ResultsError       2   result rows given to the gate or the grader
    │   └── OutputError        2   a place that cannot be written to
    ├── StoreError             1   an object store does not answer, or not with what it should
    │   └── LeaseLost          1   another process took over a bake
    ├── SandboxError           1   a sandbox did not come up
    ├── EngineError            1   an engine did not sample as it was told
    ├── CheckFailed            1   a check ran and the answer is no
    └── Interrupted          130   stopped by the user or the scheduler, resumable

A message is one line: the value found, what was expected, what to do.
"""


class ForgeError(Exception):
    """Root of the tree; `exit_code` is what the command line exits with."""

    exit_code = 1


class InputError(ForgeError):
    """What the user gave is unusable; nothing was written."""

    exit_code = 2


class ConfigError(InputError):
    """A field, a flag or a configuration file is wrong."""


class ChampionError(InputError):
    """A model or its tokenizer cannot be used."""


class QuestionError(InputError):
    """A question set cannot be used."""


class ResultsError(InputError):
    """Result rows cannot be used."""


class OutputError(InputError):
    """Output cannot be written where it was asked for."""


class StoreError(ForgeError):
    """An object store does not answer, or not with what it should; trying again may help."""


class LeaseLost(StoreError):  # noqa: N818 - an outcome, not a fault
    """Another process took over a bake; what it makes of it will be at the publication root."""


class SandboxError(ForgeError):
    """A sandbox that worked before did not come up; trying again may help."""


class EngineError(ForgeError):
    """An engine that is not this package's own did not sample as it was told; nothing of it is used."""


class CheckFailed(ForgeError):  # noqa: N818 - an outcome, not a fault
    """A check ran and the answer is no."""


class Interrupted(ForgeError):  # noqa: N818 - an outcome, not a fault
    """The run was stopped and can be resumed."""

    exit_code = 130
