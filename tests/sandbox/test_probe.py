"""A sandbox that does not hold is refused, not weakened."""

import pytest

from agent_forge.errors import InputError
from agent_forge.sandbox import launch, probe
from agent_forge.sandbox.seccomp import compiled_filter

require = probe.require_sandbox.__wrapped__


def test_this_machine_can_judge_code(sandbox) -> None:
    require()


def test_without_bubblewrap_the_line_says_how_to_get_it(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"scripts/install_sandbox\.sh"):
        require()


def test_where_namespaces_are_forbidden_bubblewraps_own_words_are_passed_on(monkeypatch, tmp_path) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(InputError, match=r"No permissions to create new namespace.*user namespaces"):
        require()


@pytest.mark.parametrize(
    ("taken", "escape"),
    [
        (("--unshare-pid",), "is a process of the host"),
        (("--uid", "65534"), "becomes another user"),
        (("--clearenv",), "sees the environment"),
        (("--tmpfs", "/tmp"), "sees a file of the host"),
        (("--remount-ro", "/"), "writes outside of its directory"),
        (("--seccomp",), "starts a process"),
    ],
)
def test_every_part_of_the_isolation_is_tried(sandbox, monkeypatch, taken: tuple[str, ...], escape: str) -> None:
    """Taking one part away is found out."""
    made = launch.sandbox_command
    monkeypatch.setenv("FORGE_TOKEN", "secret")

    def weaker(limits, filtering: int) -> list[str]:
        command = made(limits, filtering)
        place = next(i for i in range(len(command)) if tuple(command[i : i + len(taken)]) == taken)
        if taken == ("--tmpfs", "/tmp"):
            return [*command[: place - 2], "--bind", "/tmp", "/tmp", *command[place + 2 :]]
        if taken == ("--seccomp",):
            return [*command[:place], *command[place + 2 :]]
        return [*command[:place], *command[place + len(taken) :]]

    for module in (launch, probe):
        monkeypatch.setattr(module, "sandbox_command", weaker)
    with pytest.raises(InputError, match=f"does not hold.*{escape}"):
        require()


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_is_a_program_whose_jumps_stay_inside(machine: str) -> None:
    import struct

    content = compiled_filter(machine)
    assert content is not None
    lines = list(struct.iter_unpack("=HBBI", content))
    for place, (code, when_true, when_false, _) in enumerate(lines):
        if code & 7 == 5:
            assert place + 1 + max(when_true, when_false) < len(lines)
    assert lines[-1][3] == 0x50001
    assert lines[-2][3] == 0x7FFF0000


def test_a_machine_whose_calls_are_not_known_has_no_filter() -> None:
    assert compiled_filter("riscv64") is None
