"""`kd labels`: what is pushed, listed and deleted, against a server."""

import json

import numpy as np
import pytest


@pytest.fixture
def file(tmp_path):
    """Labels of the digits, of which one row says nothing."""
    logits = np.random.default_rng(0).normal(size=(1_797, 10)).astype(np.float32)
    logits[3] = 0
    np.save(tmp_path / "labels.npy", logits)
    return str(tmp_path / "labels.npy")


def test_labels_are_pushed_listed_learnt_from_and_deleted(kd, client, file):
    pushed = kd("labels", "push", file, "--dataset", "digits", "--logits")

    table_id = pushed.stdout.partition(":")[0]
    assert f"`--set config.teacher.labels={table_id}` learns from them." in pushed.stdout.replace("\n", " ")
    assert "1 of 1797 rows say the same of every class (row 3)." in pushed.stderr.replace("\n", " ")
    assert json.loads(kd("labels", "ls", "--json").stdout)[0]["id"] == table_id
    (row,) = [line.split() for line in kd("labels", "ls").stdout.splitlines() if line.startswith(table_id)]
    assert row[1:3] == ["digits", "pushed"]
    job = kd(
        "submit", "--mode", "train", "--set", "config.dataset=digits", "--set", f"config.teacher.labels={table_id}"
    )
    assert f"labels {table_id[:8]} teaches mlp" in kd("show", job.stdout.strip()).stdout
    in_use = kd("labels", "delete", table_id)
    assert (in_use.exit_code, "delete it when they have ended" in in_use.stderr.replace("\n", " ")) == (1, True)
    client.cancel(job.stdout.strip())
    assert kd("labels", "delete", table_id).exit_code == 0
    assert list(client.label_tables()) == []


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--dataset", "digits"], 2, "--logits or --probabilities"),
        (["--dataset", "digits", "--logits", "--probabilities"], 2, "--logits or --probabilities"),
        (["--dataset", "digits", "--probabilities"], 1, "logits are pushed as logits"),
        (["--dataset", "mnist5k", "--logits"], 1, "there are 1,797 rows, and mnist5k has 5,000 images"),
    ],
)
def test_what_cannot_be_pushed_is_a_sentence(kd, file, options, code, says):
    answer = kd("labels", "push", file, *options)

    assert answer.exit_code == code
    assert says in answer.stderr.replace("\n", " ")
