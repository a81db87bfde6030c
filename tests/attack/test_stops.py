"""Who labels is stopped for longer than a lease, the trainer or its worker: others that want the labels get theirs."""

import signal

import psutil
import pytest

from tests.attack.conftest import LASTING, Attacked
from tests.support.deployed import LEASE_SECONDS, wait_until
from tests.support.trainers import MADE_SAFE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

LABELLED = LASTING | {"views": 8, "epochs": 2, "seed": 11}


@pytest.mark.parametrize("who", ["worker", "trainer"])
def test_who_is_stopped_while_it_labels_costs_nobody_a_job(attacked: Attacked, who: str) -> None:
    attacked.crew(1)
    undisturbed = attacked.outcome(attacked.submit(**LABELLED))
    for table in list(attacked.client.label_tables()):
        attacked.client.delete_label_table(table["id"])
    attacked.crew(0)
    attacked.stage.close_gate(MADE_SAFE)
    worker = attacked.add_worker(LABELS_ARE_KEPT_EVERY_SECONDS="0")
    stopped = attacked.submit(**LABELLED)
    (pid,) = wait_until(attacked.stage.held, "it labels")
    trainer = psutil.Process(pid)

    trainer.suspend() if who == "trainer" else attacked.freeze(worker)
    attacked.stage.open_gate(MADE_SAFE)
    attacked.crew(2)
    other = attacked.submit(**LABELLED)
    if who == "worker":  # its trainer has ended itself, so the labels are free
        assert attacked.outcome(other) == undisturbed
        assert attacked.outcome(stopped) == undisturbed
        worker.send(signal.SIGCONT)
    else:  # its worker renews the lease as long as it likes, and the other says that it waits
        wait_until(lambda: "labels_awaited" in noted(attacked, other), "the other one waits for the labels")
        renewed = attacked.row(stopped).lease_expires_at
        wait_until(
            lambda: (attacked.row(stopped).lease_expires_at - renewed).total_seconds() > LEASE_SECONDS,
            "longer than a lease",
        )
        trainer.resume()
        assert attacked.outcome(other) == undisturbed
        assert attacked.outcome(stopped) == undisturbed
        assert attacked.job(stopped)["attempt"] == 1


def noted(attacked: Attacked, job_id: str) -> list[str]:
    return [event["data"]["code"] for event in attacked.events(job_id) if event["type"] == "noted"]
