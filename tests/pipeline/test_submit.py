"""Submitting and scheduling, with the real client against a server that speaks the API."""

import json
from functools import cache

import pytest
import yaml
from kfp_server import FakeServer, serving

from pipelines import connection, schedule, submit
from pipelines.request import PACKAGE

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KFP_TOKEN", "KFP_COOKIE", "KFP_HOST", "KFP_PACKAGE"):
        monkeypatch.delenv(name, raising=False)
    state = FakeServer()
    with serving(state) as url:
        monkeypatch.setenv("KFP_HOST", url)
        yield state


@cache
def groups() -> dict[str, str]:
    """The graph's branches by the name of their end, out of the compiled file."""
    first = next(iter(yaml.safe_load_all(PACKAGE.read_text())))
    parts = [first["root"], *first["components"].values()]
    return {
        task["taskInfo"]["name"]: key for part in parts for key, task in part.get("dag", {}).get("tasks", {}).items()
    }


def test_a_run_is_started_with_the_compiled_file_and_a_link_is_printed(server, capsys):
    assert submit.main(["--model", "hf://me/champion", "--set", "eval_samples=50", "--set", "alpha=0.01"]) == 0
    (run,) = server.objects["runs"]
    out = capsys.readouterr().out
    assert f"/#/runs/details/{run['run_id']}" in out
    parameters = run["runtime_config"]["parameters"]
    assert parameters["model_path"] == "hf://me/champion" and parameters["eval_samples"] == 50
    assert json.loads(parameters["config"]) == {"alpha": 0.01}
    assert submit.main(["--model", "hf://me/other"]) == 0
    assert server.objects["runs"][1]["runtime_config"]["parameters"] == {"model_path": "hf://me/other"}
    (version,) = server.objects["versions"]
    assert run["pipeline_version_reference"]["pipeline_version_id"] == version["pipeline_version_id"]


def test_asking_twice_starts_one_run_and_uploads_one_version(server, capsys):
    for _ in range(2):
        assert submit.main(["--model", "hf://me/champion"]) == 0
    assert [len(server.objects[kind]) for kind in ("runs", "versions", "pipelines", "experiments")] == [1, 1, 1, 1]
    first, second = (line for line in capsys.readouterr().out.splitlines() if line.startswith("run "))
    assert first == second


@pytest.mark.parametrize(
    "other", [["--model", "hf://me/other"], ["--set", "alpha=0.02"], ["--revision", "b"], ["--again"]]
)
def test_another_request_is_another_run(server, other):
    assert submit.main(["--model", "hf://me/champion"]) == 0
    assert submit.main(["--model", "hf://me/champion", *other]) == 0
    assert len(server.objects["runs"]) == 2


def test_the_surroundings_may_name_the_compiled_file(server, monkeypatch):
    monkeypatch.setenv("KFP_PACKAGE", str(PACKAGE.with_name("quietstar-cpu.yaml")))
    assert submit.main([]) == 0 and submit.main(["--package", str(PACKAGE)]) == 0
    first, second = (version["display_name"] for version in server.objects["versions"])
    assert first != second


def test_a_failed_run_is_started_again(server):
    submit.main([])
    server.finish("FAILED")
    server.new_run = {"state": "RUNNING"}
    submit.main([])
    assert len(server.objects["runs"]) == 2


def test_of_two_that_start_at_once_the_older_stays(server, monkeypatch):
    original = submit._runs
    # The other submitter's run appears between the look and the start.
    looks = iter([lambda *a: [], original])
    submit.main(["--again"])
    monkeypatch.setattr(submit, "_runs", lambda *a: next(looks)(*a))
    submit.main([])
    older, newer = server.objects["runs"]
    assert server.terminated == [newer["run_id"]] and older["run_id"] not in server.terminated


@pytest.mark.parametrize(
    ("end", "code"), [("published", 0), ("no-bake", 10), ("inconclusive", 11), ("rejected", 12), (None, 0)]
)
def test_waiting_tells_the_verdict_and_exits_by_it(server, capsys, end, code):
    server.finish("SUCCEEDED", ("root", "resolve-champion-driver", *((groups()[end],) if end else ())))
    assert submit.main(["--wait", "--exit-code", "--poll", "0.01"]) == code
    assert f"verdict  {end or 'already-published'}" in capsys.readouterr().out
    assert submit.main(["--wait", "--poll", "0.01"]) == 0


@pytest.mark.parametrize("groups", [(), ("root", "resolve-champion", "prepare-questions")])
def test_no_verdict_is_made_up_where_the_server_tells_none(server, capsys, groups):
    server.finish("SUCCEEDED", groups)
    assert submit.main(["--wait", "--exit-code", "--poll", "0.01"]) == 1
    assert "does not say by which branch" in capsys.readouterr().err


@pytest.mark.parametrize(("status", "code"), [(503, 0), (403, 1)])
def test_waiting_outlasts_a_server_that_is_away_for_a_while(server, status, code, monkeypatch, capsys):
    server.finish("SUCCEEDED", ("root", "published"))
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        server.fail_with = None

    original = submit.wait

    def wait(*arguments):
        server.fail_with = status
        return original(*arguments)

    monkeypatch.setattr(submit, "wait", wait)
    monkeypatch.setattr(submit.time, "sleep", pause)
    assert submit.main(["--wait", "--exit-code", "--poll", "0.5"]) == code
    assert pauses == ([0.5] if code == 0 else [])


def test_a_run_that_fails_is_exit_code_1_with_its_own_line(server, capsys):
    server.finish("FAILED", error="forge: eval_dataset arithmetics is unknown")
    assert submit.main(["--wait", "--poll", "0.01"]) == 1
    progress, line = capsys.readouterr().err.splitlines()
    assert progress == "resolve-champion: failed"
    assert "FAILED" in line and "eval_dataset arithmetics is unknown" in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "alfa=1"], "did you mean alpha?"),
        (["--set", "ab_test_rounds=0"], "ab_test_rounds"),
        (["--exit-code"], "--wait"),
        (["--package", "none.yaml"], "none.yaml"),
        (["--host", ""], "--host"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_started(server, capsys, arguments, said):
    assert submit.main(arguments) == 2
    line = capsys.readouterr().err
    assert said in line and line.count("\n") == 1 and server.objects["runs"] == []


def test_inside_the_cluster_the_service_accounts_token_is_used(server, monkeypatch, tmp_path):
    (tmp_path / "token").write_text("projected")
    monkeypatch.setattr(connection, "SERVICE_ACCOUNT_TOKEN", tmp_path / "token")
    assert submit.main([]) == 0
    assert {headers.get("Authorization", headers.get("authorization")) for headers in server.headers} == {
        "Bearer projected"
    }


@pytest.mark.parametrize(("variable", "header"), [("KFP_TOKEN", "Authorization"), ("KFP_COOKIE", "Cookie")])
def test_credentials_come_from_the_environment_and_are_never_printed(server, monkeypatch, capsys, variable, header):
    monkeypatch.setenv(variable, "authservice_session=s3cr3t")
    assert submit.main([]) == 0
    assert all("s3cr3t" in {k.title(): v for k, v in headers.items()}.get(header, "") for headers in server.headers[1:])
    server.fail_with = 403
    assert submit.main(["--again"]) == 1
    said = capsys.readouterr()
    assert "403" in said.err and "s3cr3t" not in said.err + said.out


def test_no_server_is_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(
        "kfp.client.client.Client.get_kfp_healthz", lambda *a, **k: (_ for _ in ()).throw(OSError("no"))
    )
    assert submit.main(["--host", "http://127.0.0.1:9"]) == 1
    line = capsys.readouterr().err
    assert "cannot reach Kubeflow Pipelines at http://127.0.0.1:9" in line and line.count("\n") == 1


def test_a_schedule_is_made_once_and_changed_when_asked(server):
    nightly = ["--name", "nightly", "--cron", "0 0 3 * * *"]
    for _ in range(2):
        assert schedule.main(nightly) == 0
    (recurring,) = server.objects["recurringruns"]
    assert recurring["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * *"
    assert recurring["max_concurrency"] == "1" or recurring["max_concurrency"] == 1
    assert recurring["no_catchup"] is True
    assert schedule.main([*nightly, "--set", "alpha=0.01"]) == 0
    (changed,) = server.objects["recurringruns"]
    assert changed["recurring_run_id"] != recurring["recurring_run_id"]
    assert schedule.main(["--name", "nightly", "--delete"]) == 0
    assert server.objects["recurringruns"] == []


@pytest.mark.parametrize("arguments", [[], ["--cron", "0 3 * * *"], ["--cron", "often"], ["--cron", "x", "--delete"]])
def test_a_wrong_schedule_is_refused(server, capsys, arguments):
    assert schedule.main(["--name", "nightly", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1 and server.objects["recurringruns"] == []
