"""Starting a process in a sandbox of its own."""

import contextlib
import functools
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO

import agent_forge
from agent_forge.errors import InputError, SandboxError
from agent_forge.sandbox.limits import Limits
from agent_forge.sandbox.seccomp import compiled_filter

# Where the modules that run inside, and packages that tests may import, stand in a sandbox.
HOME = "/forge"
PACKAGES = "/packages"
INSIDE = ("__init__", "limits", "values", "wire", "statements", "program", "examiner", "candidate")
# What benchmark tests compare floating point results with.
OFFERED = ("numpy",)
SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache")
ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    # The same program computes the same: sets and dictionaries keep their order.
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    # No threads can be started.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}


@contextlib.contextmanager
def sandboxed(
    entry: str,
    arguments: Sequence[object],
    limits: Limits,
    stdin: IO[bytes],
    stdout: IO[bytes],
    keep: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the `start` of a module of this package in a sandbox; it is killed at the end, with whatever is left of it.

    Args:
        entry: `examiner` or `candidate`.
        arguments: of `start`, before the limits.
        limits: of the process.
        stdin: its standard input.
        stdout: its standard output.
        keep: descriptors it gets besides.

    Raises:
        SandboxError: when the system has no room for another process.
    """
    with filtered() as filtering:
        command = [*sandbox_command(limits, filtering), *_python(entry, arguments, limits)]
        try:
            process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.DEVNULL,
                pass_fds=[filtering, *keep],
                start_new_session=True,
            )
        except OSError as cause:
            raise SandboxError(f"a sandbox cannot be started: {cause}; is the machine out of memory?") from cause
    try:
        yield process
    finally:
        # The sandbox's first process dies with this one, and with it everything inside.
        process.kill()
        process.wait()


def find_bwrap() -> str:
    """Return the path of bubblewrap.

    Raises:
        InputError: when it is not installed.
    """
    found = shutil.which("bwrap")
    if found is None:
        raise InputError(
            "answers of kind code need the sandbox bubblewrap, and there is no bwrap on the PATH; "
            "run scripts/install_sandbox.sh or install the package bubblewrap"
        )
    return found


@contextlib.contextmanager
def filtered() -> Iterator[int]:
    """Give a descriptor from which bubblewrap reads the filter of system calls.

    Raises:
        InputError: when there is none for this machine.
    """
    content = compiled_filter()
    if content is None:
        raise InputError(
            f"answers of kind code cannot be graded on {os.uname().machine}: the sandbox knows x86_64 and aarch64"
        )
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as end:
        end.write(content)
    try:
        yield reading
    finally:
        os.close(reading)


def sandbox_command(limits: Limits, filtering: int) -> list[str]:
    """Return the command line that a program's own is appended to.

    Args:
        limits: of the process, for the size of its directory.
        filtering: descriptor of the filter.
    """
    command = [find_bwrap(), *_FIXED]
    for source, target in _bindings():
        command += ["--ro-bind", source, target]
    for place in _hidden():
        command += ["--tmpfs", place, "--remount-ro", place]
    for name, value in ENVIRONMENT.items():
        command += ["--setenv", name, value]
    command += ["--size", str(limits.file_bytes), "--tmpfs", "/tmp", "--remount-ro", "/", "--chdir", "/tmp"]
    return [*command, "--seccomp", str(filtering), "--"]


_FIXED = (
    *("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"),
    *("--unshare-cgroup-try", "--uid", "65534", "--gid", "65534", "--hostname", "sandbox"),
    *("--cap-drop", "ALL", "--die-with-parent", "--new-session", "--clearenv"),
    *("--dev-bind", "/dev/null", "/dev/null", "--dev-bind", "/dev/urandom", "/dev/urandom"),
)


def _python(entry: str, arguments: Sequence[object], limits: Limits) -> list[str]:
    given = ", ".join([*map(repr, arguments), *(f"{name}={value!r}" for name, value in asdict(limits).items())])
    program = (
        f"import sys; sys.path[:0] = [{HOME!r}]; sys.path.append({PACKAGES!r}); "
        f"from agent_forge.sandbox import {entry}; {entry}.start({given})"
    )
    # Neither site packages nor the current directory are looked into, and no byte code is written.
    return [os.path.realpath(sys.executable), "-s", "-S", "-P", "-B", "-c", program]


@functools.cache
def _bindings() -> tuple[tuple[str, str], ...]:
    """Return what is seen inside, read-only: source and place."""
    found = [(place, place) for place in _libraries()]
    package = Path(agent_forge.__file__).parent
    modules = ["__init__.py", *(f"sandbox/{name}.py" for name in INSIDE)]
    found += [(str(package / module), f"{HOME}/agent_forge/{module}") for module in modules]
    for name in OFFERED:
        specification = importlib.util.find_spec(name)
        for place in (specification.submodule_search_locations or ()) if specification else ():
            beside = (Path(place), Path(place).with_name(f"{name}.libs"))
            found += [(str(folder), f"{PACKAGES}/{folder.name}") for folder in beside if folder.is_dir()]
    return tuple(found)


@functools.cache
def _libraries() -> tuple[str, ...]:
    """Return where Python and what it is linked with stand; not the environment that this process runs in."""
    base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix, "installed_platbase": sys.base_exec_prefix}
    libraries = {*SYSTEM, os.path.realpath(sys.executable)}
    libraries |= {sysconfig.get_path(name, vars=base) for name in ("stdlib", "platstdlib")}
    if sys.base_prefix not in ("/usr", "/"):
        libraries |= {str(Path(sys.base_prefix).resolve() / folder) for folder in ("lib", "lib64")}
    present = [place for place in sorted(libraries) if Path(place).exists()]
    return tuple(place for place in present if not any(Path(other) in Path(place).parents for other in present))


@functools.cache
def _hidden() -> tuple[str, ...]:
    """Return what lies among the libraries and is covered: installed packages, which may hold a benchmark's answers."""
    found = {
        folder
        for place in _libraries()
        for name in ("site-packages", "dist-packages")
        for folder in [*Path(place).glob(name), *Path(place).glob(f"python*/{name}")]
    }
    return tuple(sorted(str(folder) for folder in found if folder.is_dir() and not folder.is_symlink()))


def signal_of(code: int) -> int:
    """Return the signal that ended a sandboxed process, by the exit code of its sandbox; 0 for an ordinary end."""
    return code - 128 if code > 128 else 0
