"""Whoever deletes files never leaves the data folder through a link."""

from datetime import timedelta

import pytest

from jobs.files import store
from jobs.queue import delete, requests
from tests.jobs.files.leaving import checkpoint, grow_old

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("collector", ["collect", "remove_jobs"])
def test_links_are_never_followed(db, data, add, write, collect, tmp_path, NOON, collector):
    add()
    job_id = add(now=NOON + SECOND)
    (tmp_path / "outside" / "attempt-1").mkdir(parents=True)
    secret = tmp_path / "outside" / "attempt-1" / "secret"
    secret.write_text("secret")
    grow_old(secret, tmp_path)
    folder = write(job_id, 1, checkpoint(10)).parent
    (folder / "file").symlink_to(secret)
    (folder / "folder").symlink_to(secret.parent)
    (data / "jobs" / job_id / "attempt-2").symlink_to(secret.parent)
    linked = add(now=NOON + SECOND)
    (data / "jobs" / linked).symlink_to(tmp_path / "outside")
    for path in (folder / "file", folder / "folder", data / "jobs" / job_id / "attempt-2", data / "jobs" / linked):
        grow_old(path, data)
    with db.begin() as session:
        for deleted in (job_id, linked):
            requests.cancel(session, deleted)
            delete.delete_job(session, deleted)

    if collector == "collect":
        collect()
    else:
        store.delete_jobs(data, [job_id, linked])

    assert list((data / "jobs").iterdir()) == []
    assert secret.read_text() == "secret"


def test_a_folder_of_jobs_that_is_a_link_is_not_entered(db, data, add, write, collect, NOON):
    add()
    outside = write("job_7ZZZZZZZZZZZZZZZZZZZZZZZZZ", 1, checkpoint(10))
    (data / "jobs").rename(data / "elsewhere")
    (data / "jobs").symlink_to(data / "elsewhere")

    with pytest.raises(NotADirectoryError):
        collect()
    store.delete_jobs(data, ["job_7ZZZZZZZZZZZZZZZZZZZZZZZZZ"])

    assert (data / "elsewhere" / outside.relative_to(data / "jobs")).exists()
