"""The client against a real server: what it asks, what it answers, and how its errors read."""

import math
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from client import Client, ClientError
from client.errors import BadUrl, NotAServer, Refused, StillRunning, Unreachable
from jobs.states import State
from kd.labels import table
from kd.spec import TrainConfig, TrainSpec
from tests.support.relaying import relay
from tests.support.served import FAILURE, Worker


def test_a_mode_and_a_config_become_a_job(client):
    job = client.submit("train", {"dataset": "digits"}, name="first", labels={"team": "vision"}, priority=3)

    found = client.get(job["id"])
    assert (found["status"], found["name"], found["labels"], found["priority"]) == (
        "queued", "first", {"team": "vision"}, 3,
    )  # fmt: skip
    assert found["spec"] == {"mode": "train", "config": {"dataset": "digits"}}
    assert found["resolved_spec"]["config"]["student"]["arch"] == "mlp"


def test_a_spec_says_the_same_as_a_dictionary_and_as_an_object(client):
    as_dictionary = client.submit({"mode": "train", "config": {"epochs": 2}})
    as_object = client.submit(TrainSpec(mode="train", config=TrainConfig(epochs=2)))

    assert as_dictionary["resolved_spec"] == as_object["resolved_spec"]
    with pytest.raises(ValueError, match="not both"):
        client.submit({"mode": "train", "config": {}}, {"epochs": 2})


def test_a_refusal_names_every_problem_and_its_place(client):
    with pytest.raises(Refused) as refused:
        client.submit("train", {"epochs": "three", "teacher": {"epoch": 3}})

    error = refused.value
    assert (error.status, error.code) == (422, "invalid")
    assert {problem.pointer for problem in error.errors} == {"/config/epochs", "/config/teacher/epoch"}
    assert "/config/epochs: should be an integer" in str(error)


def test_an_unknown_job_is_a_sentence(client):
    with pytest.raises(Refused, match="There is no job") as refused:
        client.get("job_x")

    assert refused.value.status == 404


def test_nobody_listening_is_a_sentence_that_names_the_url_and_what_to_do():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"

        with Client(url) as client:
            with pytest.raises(Unreachable) as unreachable:
                client.get("job_x")
            assert not client.is_ready()

    assert url in str(unreachable.value)
    assert "kd serve" in str(unreachable.value)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://127.0.0.1", "http://", "http://[::1", ""])
def test_a_url_that_is_none_is_refused_at_once(url):
    with pytest.raises(BadUrl):
        Client(url)


def test_a_server_of_another_kind_is_recognised():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer_once, args=(listener, b"<html>hello</html>"), daemon=True).start()

        with Client(f"http://127.0.0.1:{listener.getsockname()[1]}") as client, pytest.raises(NotAServer):
            client.get("job_x")


def answer_once(listener: socket.socket, body: bytes) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def test_the_list_goes_on_over_its_pages(client):
    jobs = [client.submit("train", labels={"many": "yes"})["id"] for _ in range(7)]

    found = [job["id"] for job in client.list(label="many=yes", page_size=3)]

    assert found == jobs[::-1]
    assert list(client.list(label="many=no")) == []


def test_events_come_in_order_and_go_on_after_the_last_one_seen(client, worker):
    job = client.submit("train")
    claim = worker.claim(job["id"])
    worker.say(claim, "noted", code="a", message="first")

    seen = list(client.events(job["id"]))
    worker.say(claim, "noted", code="b", message="second")
    later = list(client.events(job["id"], after=seen[-1]["seq"]))

    assert [event["seq"] for event in seen + later] == list(range(1, len(seen) + 2))
    assert [event["data"]["message"] for event in later] == ["second"]


def test_following_events_ends_with_the_job(client, worker):
    job = client.submit("train")
    claim = worker.claim(job["id"])

    heard = []
    for event in client.events(job["id"], follow=True, poll=0.02):
        heard.append(event["type"])
        if heard[-1] == "claimed":
            worker.say(claim, "noted", code="c", message="late news")
            worker.release(claim, State.FAILED, error=FAILURE)

    assert heard[-2:] == ["noted", "state"]


def test_waiting_ends_when_the_job_does_or_when_time_is_up(client):
    job = client.submit("train")
    with pytest.raises(StillRunning, match="is still queued"):
        client.wait(job["id"], timeout=0.1, poll=0.02)

    client.cancel(job["id"])

    assert client.wait(job["id"])["status"] == "cancelled"
    with pytest.raises(ClientError, match=job["id"]):
        client.download(job["id"])


def test_waiting_survives_a_restart_of_the_server(own_server):
    with Client(own_server.url) as client:
        job = client.submit("train")
    claim = Worker(own_server).claim(job["id"])
    with relay(own_server.url) as network, Client(network.url) as far, ThreadPoolExecutor() as executor:
        waiting = executor.submit(far.wait, job["id"], poll=0.05)
        while len(network.requests) < 2:  # the second one is being held
            time.sleep(0.01)

        own_server.end()
        own_server.start()
        Worker(own_server).release(claim, State.FAILED, error=FAILURE)

        assert waiting.result()["status"] == "failed"


def test_cancelling_a_finished_job_is_refused_with_the_reason(client, worker):
    job = client.submit("train")
    claim = worker.claim(job["id"])
    worker.release(claim, State.SUCCEEDED, result={"metrics": {}, "best_checkpoint": None, "seconds": {}})

    with pytest.raises(Refused, match="one cannot cancel it") as refused:
        client.cancel(job["id"])

    assert refused.value.code == "not_allowed"


def test_many_jobs_are_cancelled_and_deleted_by_a_filter_and_never_for_want_of_one(client):
    jobs = [client.submit("train", labels={"sweep": "many"})["id"] for _ in range(3)]
    for everything in (client.cancel_all, client.delete_all):
        with pytest.raises(Refused, match="needs a filter"):
            everything()

    assert client.delete_all(label="sweep=many")["changed"] == 0  # they have not ended
    assert client.cancel_all(label="sweep=many")["changed"] == 3
    assert client.delete_all(label="sweep=many", everything=True)["changed"] == 3

    assert list(client.list(label="sweep=many")) == []
    with pytest.raises(Refused, match="There is no job"):
        client.get(jobs[0])


def test_numbers_that_json_lacks_come_back_as_floats(client, worker):
    job = client.submit("train")
    claim = worker.claim(job["id"])
    worker.record(claim, metrics=[("loss", 1, 0.5), ("loss", 2, math.inf), ("loss", 3, math.nan)])

    values = client.metrics(job["id"], names="loss")["series"]["loss"]["value"]

    assert values[:2] == [0.5, math.inf]
    assert math.isnan(values[2])


def test_logs_are_text(client, worker):
    job = client.submit("train")
    claim = worker.claim(job["id"])
    worker.write(claim, "artifact", "trainer.log", b"one\ntwo\nthree\n")

    assert client.logs(job["id"]) == "one\ntwo\nthree\n"
    assert client.logs(job["id"], tail=1) == "three\n"


def test_label_tables_are_listed_and_deleted(client, server):
    path = server.data / "labels" / f"{'ab' * 16}.npy"
    with table.try_to_write(path):
        table_NVC, kept = table.open_draft(path, (10, 2, 3))
        table_NVC[:] = 0
        facts = {"teacher": "7e" * 32, "dataset": "da" * 32, "plan": {}, "precision": "torch.float32"}
        table.finish(path, table_NVC, kept, facts, np.zeros((10, 2, 3), np.int32), ["top", "left", "flip"])

    [listed] = client.label_tables()
    assert client.label_table(path.stem) == listed
    assert (listed["id"], listed["labels"]["shape"]) == (path.stem, [10, 2, 3])
    client.delete_label_table(path.stem)

    assert list(client.label_tables()) == []
    with pytest.raises(Refused, match="There is no label table") as refused:
        client.delete_label_table(path.stem)
    assert refused.value.code == "label_table_not_found"


def test_curves_that_are_known_go_on_with_what_is_new(client, worker):
    job = client.submit("train")
    claim = worker.claim(job["id"])
    names = [f"curve.{number}" for number in range(12)]
    worker.record(claim, metrics=[(name, step, step / 2) for name in names for step in range(900)])
    first = client.metrics(job["id"])
    worker.record(claim, metrics=[("curve.3", 899, 0.0), ("curve.3", 900, math.inf), ("new", 900, 1.0)])

    second = client.metrics(job["id"], known=first)

    assert first["series"] == {
        name: {"step": list(range(900)), "value": [step / 2 for step in range(900)]} for name in names
    }, "page after page"
    assert second["series"]["curve.3"]["step"] == list(range(901))
    assert second["series"]["curve.3"]["value"][-3:] == [449.0, 0.0, math.inf]
    assert second["series"].pop("new") == {"step": [900], "value": [1.0]}
    del first["series"]["curve.3"], second["series"]["curve.3"]
    assert second["series"] == first["series"]
    few = client.metrics(job["id"], "curve.3,curve.4", max_points=10)["series"]
    assert {len(curve["step"]) for curve in few.values()} <= set(range(11))
