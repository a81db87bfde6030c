"""The commands that speak to a server: what they print, their exit codes, and no traceback ever."""

import json
import os
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from cli.main import app
from jobs.states import State
from tests.support.relaying import relay
from tests.support.served import FAILURE, RESULT


def test_submit_prints_nothing_but_the_id_into_a_pipe(kd, client, tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text("mode: train\nname: from the file\nlabels: {team: vision}\nconfig: {dataset: digits}\n")

    result = kd("submit", str(spec), "--set", "config.epochs=3", "--label", "run=7", "--priority", "2")

    job = client.get(result.stdout.strip())
    assert job["spec"] == {"mode": "train", "config": {"dataset": "digits", "epochs": 3}}
    assert (job["name"], job["labels"], job["priority"]) == ("from the file", {"team": "vision", "run": "7"}, 2)


def test_submit_puts_limits_over_those_of_the_file(kd, client, tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text("mode: train\nlimits: {max_queue_seconds: 60, max_run_seconds: 60}\nkeep_last: 2\n")

    limited = kd("submit", str(spec), "--max-run", "1h30m", "--max-stall", "90s", "--keep-last", "3").stdout.strip()

    job = client.get(limited)
    assert job["limits"] == {"max_run_seconds": 5_400, "max_queue_seconds": 60, "max_stall_seconds": 90}
    assert job["keep_last"] == 3
    shown = kd("show", limited).stdout
    assert "1:30:00 of training, 1:00 in the queue, 1:30 without progress" in shown
    assert "the last 3" in shown


def test_submit_reads_stdin_and_answers_in_json(kd):
    result = kd("submit", "-", "--json", "--name", "piped", input='{"mode": "guide", "config": {}}')

    assert json.loads(result.stdout)["name"] == "piped"


def test_submit_prints_every_problem_with_its_place(kd):
    result = kd("submit", "--mode", "train", "--set", "config.epochs=0", "--set", "config.techer.arch=cnn")

    assert result.exit_code == 1
    assert "/config/epochs: should be greater than or equal to 1" in result.stderr
    assert "/config/techer: there is no such field; the nearest are teacher" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["submit"], 2, "Give a spec file, or --mode"),
        (["submit", "nowhere.yaml"], 2, "No such file"),
        (["submit", "--mode", "magic"], 2, "magic"),
        (["submit", "--mode", "train", "--max-run", "90"], 2, "'90' is no duration; one looks like 90s, 30m"),
        (["submit", "--mode", "train", "--max-queue", "0s"], 1, "/limits/max_queue_seconds"),
        (["cancel"], 2, "Give their ids; --all cancels every job"),
        (["cancel", "--status", "queued"], 2, "--all beside the filters"),
        (["cancel", "job_x", "--all"], 2, "not both"),
        (["cancel", "--all", "--status", "asleep"], 1, "/status"),
        (["pause", "job_x"], 1, "There is no job 'job_x'"),
        (["resume", "job_x"], 1, "There is no job 'job_x'"),
        (["retry", "job_x"], 1, "There is no job 'job_x'"),
        (["retry", "job_x", "--set", "config.epochs"], 2, "must look like config.epochs=3"),
        (["delete", "job_x"], 1, "There is no job 'job_x'"),
        (["change", "job_x"], 2, "Nothing to change"),
        (["change", "job_x", "--label", "vision"], 2, "must look like name=value"),
        (["change", "job_x", "--name", "x"], 1, "There is no job 'job_x'"),
        (["drain", "nobody:1:x"], 1, "There is no worker 'nobody:1:x'"),
        (["undrain", "nobody:1:x"], 1, "There is no worker 'nobody:1:x'"),
        (["show", "job_x"], 1, "There is no job 'job_x'"),
        (["watch", "job_x"], 1, "There is no job 'job_x'"),
        (["cancel", "job_x"], 1, "There is no job 'job_x'"),
        (["download", "job_x"], 1, "There is no job 'job_x'"),
        (["ls", "--status", "asleep"], 1, "/status"),
        (["ls", "--url", "nonsense"], 1, "not the url of a server"),
        (["ls", "--url", "http://127.0.0.1:1"], 1, "`kd serve` starts one"),
        (["watch", "job_x", "--url", "http://127.0.0.1:1"], 1, "`kd serve` starts one"),
        (["run", "--mode", "train", "--resume"], 2, "--resume needs --out"),
        (["run", "--mode", "train", "--set", "config.epochs=0"], 1, "/config/epochs: should be"),
    ],
)
def test_a_mistake_is_a_sentence_and_an_exit_code(kd, arguments, code, says):
    result = kd(*arguments)

    assert result.exit_code == code
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_presets_are_listed_with_what_they_fill_in_for_a_job(kd, client):
    plain = kd("presets", "--dataset", "digits", "--student", "resnet8").stdout
    listed = json.loads(kd("presets", "--mode", "guide", "--json").stdout)

    assert [line.split()[0] for line in plain.splitlines()[-3:]] == ["fast", "balanced", "best"]
    assert [preset["name"] for preset in listed] == ["fast", "balanced", "best"]
    assert listed == list(client.presets("guide"))
    assert "the nearest are resnet8" in kd("presets", "--student", "resnet9").stderr


def test_ls_shows_the_newest_first_with_ages_and_accuracies(kd, client, worker):
    older = client.submit("train", name="older [red]", labels={"shelf": "ls"})["id"]
    newer = client.submit("guide", labels={"shelf": "ls"})["id"]
    claim = worker.claim(older)
    worker.release(claim, State.SUCCEEDED, result=RESULT)

    lines = kd("ls", "--label", "shelf=ls").stdout.splitlines()

    assert [line.split()[0] for line in lines] == ["id", newer, older]
    assert "older [red]" in lines[2]
    assert re.search(r"93\.00 % +\+1\.50 points +\d+ s", lines[2])
    assert [job["id"] for job in json.loads(kd("ls", "--label", "shelf=ls", "--json", "--limit", "1").stdout)] == [
        newer
    ]


def test_show_says_what_a_job_is_and_how_it_ended(kd, client, worker):
    job_id = client.submit("train", {"dataset": "digits"})["id"]
    claim = worker.claim(job_id)
    assert "running" in kd("show", job_id).stdout

    worker.release(claim, State.FAILED, error=FAILURE)
    shown = kd("show", job_id).stdout

    assert "train on digits: cnn teaches mlp" in shown
    assert "The loss is not finite." in shown
    assert "Use a smaller rate." in shown
    assert json.loads(kd("show", job_id, "--json").stdout)["error"]["code"] == "diverged"


def test_ls_and_show_say_what_a_job_waits_for_and_how_a_paused_one_goes_on(kd, client):
    first = client.submit("train", labels={"shelf": "waiting"}, priority=100)["id"]
    paused = client.submit("train", labels={"shelf": "waiting"})["id"]
    client.pause(paused)

    listed = kd("ls", "--label", "shelf=waiting").stdout
    assert re.search(rf"{first} +queued +train +place \d+, no", listed)
    assert re.search(rf"{paused} +paused", listed)
    assert "`kd resume JOB` goes on" in listed

    assert re.search(r"waiting +place \d+, no", kd("show", first).stdout)
    assert f"`kd resume {paused}`" in kd("show", paused).stdout


def test_show_says_what_would_help_a_failed_job_and_which_command_does_it(kd, client, worker):
    job_id = client.submit("train", {"dataset": "digits", "batch_size": 64})["id"]
    patch = {"config": {"batch_size": 32, "teacher": {"batch_size": 16}}}
    worker.release(worker.claim(job_id), State.FAILED, error={**FAILURE, "suggested_patch": patch})

    shown = kd("show", job_id).stdout

    assert f"`kd retry {job_id} --suggested` tries again with config.batch_size=32, config.teacher.batch_size=16." in (
        shown
    )


def test_download_puts_the_student_where_it_was_asked_to(kd, client, server, worker, tmp_path):
    job_id = client.submit("train")["id"]
    claim = worker.claim(job_id)
    worker.publish(claim, b"the weights of a student")

    result = kd("download", job_id, "--to", str(tmp_path / "s.safetensors"))
    assert (tmp_path / "s.safetensors").read_bytes() == b"the weights of a student"
    assert "sha256" in result.stdout

    with relay(server.url, {b"the weights of": b"something else"}) as network:
        spoilt = CliRunner(env={"STILLHOUSE_URL": network.url})
        result = spoilt.invoke(app, ["download", job_id, "--to", str(tmp_path / "t.safetensors")])
    assert result.exit_code == 1
    assert "thrown away" in result.stderr
    assert not (tmp_path / "t.safetensors").exists()


def test_a_report_is_printed_or_put_into_a_file(kd, client, worker, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job_id = client.submit("train")["id"]
    assert "has no report yet" in kd("report", job_id).stderr
    claim = worker.claim(job_id)
    for name in ("report.json", "report.html", "model-card.md"):
        worker.publish_artifact(claim, name, b'{"remarks": ["worth it"]}')

    assert json.loads(kd("report", job_id).stdout) == {"remarks": ["worth it"]}
    assert kd("report", job_id, "--html").exit_code == 0
    assert kd("report", job_id, "--card", "--output", "card.md").exit_code == 0
    assert kd("report", job_id, "--output", "kept.json").exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} == {f"{job_id}-report.html", "card.md", "kept.json"}
    assert kd("report", job_id, "--html", "--card").exit_code == 2


def test_logs_are_printed_as_they_are(kd, client, worker):
    job_id = client.submit("train")["id"]
    worker.write(worker.claim(job_id), "artifact", "trainer.log", b"[bold]one[/bold]\ntwo\n")

    assert kd("logs", job_id).stdout == "[bold]one[/bold]\ntwo\n"
    assert kd("logs", job_id, "--tail", "1").stdout == "two\n"


def test_looking_at_jobs_loads_neither_torch_nor_a_server(server):
    script = (
        "import sys; from cli.main import app; app(['ls'], standalone_mode=False);"
        "print([name for name in ('torch', 'fastapi', 'sqlalchemy', 'celery') if name in sys.modules])"
    )

    said = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "STILLHOUSE_URL": server.url},
        capture_output=True,
        text=True,
        check=True,
    )

    assert said.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("missing", "command", "says"),
    [
        ("torch", "['run', '--mode', 'train']", '`kd run` needs torch: pip install "stillhouse[kd]"'),
        ("torch", "['work']", '`kd work` needs torch: pip install "stillhouse[worker]"'),
        ("fastapi", "['serve']", '`kd serve` needs fastapi: pip install "stillhouse[api]"'),
        ("sqlalchemy", "['serve']", '`kd serve` needs sqlalchemy: pip install "stillhouse[api]"'),
        ("PIL", "['data', 'add', 'pets']", '`kd data add` needs PIL: pip install "stillhouse[kd]"'),
    ],
)
def test_a_missing_extra_is_a_sentence(missing, command, says, tmp_path):
    script = f"import sys; sys.modules[{missing!r}] = None; from cli.main import app; app({command})"

    said = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)

    assert said.returncode == 1
    assert said.stderr.strip() == says
    assert list(tmp_path.iterdir()) == []
