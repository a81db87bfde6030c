"""What users may ask for and look at."""

import contextlib
import threading
from datetime import timedelta

import pytest
from sqlalchemy import event, update
from sqlalchemy.exc import IntegrityError

from jobs import ids
from jobs.envelope import Envelope
from jobs.errors import JobNotFound, NotStorable
from jobs.job import get_job
from jobs.log import marks
from jobs.pages import Page
from jobs.queue import find, leases, place, requests, submit
from jobs.queue.delete import delete_all, delete_job
from jobs.states import State
from jobs.tables import Job
from kd.spec import parse

SECOND = timedelta(seconds=1)
SPEC = parse({"mode": "train", "config": {}})


def test_a_new_job_waits_with_what_was_asked_and_what_that_means(db, NOON):
    given = {"mode": "guide", "config": {"student": {"arch": "cnn_small"}}}

    with db.begin() as session:
        envelope = Envelope(name="первый", labels={"team": "vision"}, priority=5)
        job = submit.add_job(session, parse(given), given=given, envelope=envelope, now=NOON)

    with db.read() as session:
        row = get_job(session, job.id)
    assert (row.mode, row.name, row.labels, row.priority) == ("guide", "первый", {"team": "vision"}, 5)
    assert row.spec == given
    assert row.resolved_spec == parse(given).model_dump(mode="json")
    assert (row.state, row.attempt, row.stalls, row.checkpoint_step) == (State.QUEUED, 0, 0, -1)
    assert (row.created_at, row.updated_at, row.started_at) == (NOON, NOON, None)
    assert (row.progress, row.latest_metrics, row.error, row.result) == ({}, {}, None, None)


def test_a_job_can_be_shown_after_its_transaction(db):
    with db.begin() as session:
        job = submit.add_job(session, SPEC)

    assert (job.state, job.labels, job.attempt) == (State.QUEUED, {}, 0)


def test_a_retry_knows_its_parent_outlives_it_and_is_another_without_it(db, add, job, NOON):
    first, stays = add(), add()
    second, other = add(parent=first), add(parent=stays)
    assert job(second).parent_job_id == first
    later = NOON + SECOND

    with db.begin() as session:
        requests.cancel(session, first, now=NOON)
        delete_job(session, first, now=later)

    assert (job(second).parent_job_id, marks.of(job(second)).updated_at) == (None, later)
    assert (job(other).parent_job_id, marks.of(job(other)).updated_at) == (stays, NOON)
    with pytest.raises(JobNotFound):
        add(parent=first)


def test_jobs_and_their_retries_are_deleted_at_the_same_moment(engine, db, add):
    """Each of the two deletes what the other one has to change."""
    failed = add()
    cancelled = add(parent=failed)
    again = add(parent=cancelled)
    with db.begin() as session:
        session.execute(update(Job).values(state=State.FAILED))
        session.execute(update(Job).where(Job.id == cancelled).values(state=State.CANCELLED))
    both, deleted = threading.Barrier(2), {}

    @event.listens_for(engine, "after_cursor_execute")
    def meet(connection, cursor, statement, *_) -> None:
        if "FOR UPDATE" in statement:
            with contextlib.suppress(threading.BrokenBarrierError):
                both.wait(1)

    def delete(state: State) -> None:
        with db.begin() as session:
            deleted[state] = delete_all(session, [Job.state == state])

    threads = [threading.Thread(target=delete, args=(state,)) for state in (State.FAILED, State.CANCELLED)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {state: set(ids) for state, ids in deleted.items()} == {
        State.FAILED: {failed, again}, State.CANCELLED: {cancelled},
    }  # fmt: skip


@pytest.mark.parametrize(
    "job_id",
    ["job_01ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "job_\x00", "job_\ud800", "", "x" * 10_000],
)
def test_a_job_that_is_not_there_is_an_error_that_says_so(db, job_id):
    with db.read() as session, pytest.raises(JobNotFound):
        get_job(session, job_id)


@pytest.mark.parametrize("odd", ["a\x00b", "half \ud83d pair"])
@pytest.mark.parametrize("where", ["spec", "spec key"])
def test_text_that_no_database_can_hold_is_refused(db, where, odd):
    more = {"note": [odd]} if where == "spec" else {odd: 1}

    with db.begin() as session, pytest.raises(NotStorable, match="cannot be stored") as refused:
        submit.add_job(session, SPEC, given={"mode": "train", "config": {}, **more})

    assert isinstance(refused.value, ValueError)
    str(refused.value).encode()  # it can be shown to the user


def test_the_table_itself_refuses_a_priority_out_of_bounds(db, add):
    job_id = add()

    with pytest.raises(IntegrityError, match="priority"), db.begin() as session:
        session.get(Job, job_id).priority = 101


def test_pages_show_every_job_once_newest_first_while_others_arrive(db, add, NOON):
    submitted = [add(now=NOON + number // 4 * SECOND) for number in range(23)]  # several within a moment

    seen, after = [], None
    while True:
        with db.read() as session:
            page = find.list_jobs(session, limit=5, after=after)
        seen += [job.id for job in page.items]
        if not page.next_cursor:
            break
        after = seen[-1]
        add(now=NOON + 100 * SECOND)

    assert seen == submitted[::-1]


def test_a_page_that_ends_with_the_last_job_has_no_more(db, add):
    for _ in range(3):
        add()

    with db.read() as session:
        assert not find.list_jobs(session, limit=3).next_cursor
        assert find.list_jobs(session, limit=2).next_cursor
        assert find.list_jobs(session, after="nonsense \x00") == Page([], None)


def test_a_cursor_works_after_its_job_is_gone(db, add, NOON):
    old, middle, new = (add(now=NOON + number * SECOND) for number in range(3))
    with db.begin() as session:
        session.delete(get_job(session, middle))

    with db.read() as session:
        assert [job.id for job in find.list_jobs(session, after=middle).items] == [old]
        assert [job.id for job in find.list_jobs(session, after=new).items] == [old]


@pytest.fixture
def listed(db, add, claim, NOON):
    """Four jobs, and the names of those that a filter finds."""
    add(name="alpha one", labels={"team": "vision", "odd.key": "a%b_c"})
    add("guide", name="Beta 100%", labels={"team": "audio"}, now=NOON + SECOND)
    add(name="gamma", now=NOON + 2 * SECOND)
    add(now=NOON + 3 * SECOND)
    claim()  # alpha one
    with db.begin() as session:
        leases.release(session, leases.claim(session, worker="w", ttl=SECOND, now=NOON), State.FAILED)  # Beta

    def listed(**wanted) -> list[str | None]:
        with db.read() as session:
            return [job.name for job in find.list_jobs(session, which=find.Filter(**wanted)).items]

    return listed


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, [None, "gamma", "Beta 100%", "alpha one"]),
        ({"states": ["running"]}, ["alpha one"]),
        ({"states": [State.QUEUED, State.FAILED]}, [None, "gamma", "Beta 100%"]),
        ({"mode": "guide"}, ["Beta 100%"]),
        ({"mode": "nothing"}, []),
        ({"label": "team=vision"}, ["alpha one"]),
        ({"label": "team"}, ["Beta 100%", "alpha one"]),
        ({"label": "team=nothing"}, []),
        ({"label": "odd.key=a%b_c"}, ["alpha one"]),
        ({"label": "$.team"}, []),
        ({"label": "\x00"}, []),
        ({"q": "BETA"}, ["Beta 100%"]),
        ({"q": "0%"}, ["Beta 100%"]),
        ({"q": "a%e"}, []),
        ({"q": "_"}, []),
        ({"q": "\x00"}, []),
        ({"q": "am", "mode": "train"}, ["gamma"]),
    ],
)
def test_a_list_can_be_filtered(listed, wanted, found):
    assert listed(**wanted) == found


def test_a_list_can_begin_after_a_time(listed, NOON):
    assert listed(created_after=NOON + SECOND) == [None, "gamma"]


def test_a_job_can_be_found_by_its_id(db, add):
    job_id, _ = add(), add()

    with db.read() as session:
        assert [job.id for job in find.list_jobs(session, which=find.Filter(q=job_id)).items] == [job_id]


def test_the_next_to_ring_for_is_the_next_to_be_claimed(db, add, claim):
    add(priority=-1)
    add()
    urgent = add(priority=1)

    with db.read() as session:
        assert place.first(session) == urgent
    for _ in range(3):
        claim()
    with db.read() as session:
        assert place.first(session) is None


def test_ids_are_in_the_order_of_submission():
    made = [ids.new("job") for _ in range(1_000)]

    assert sorted(set(made)) == made
    assert all(ids.is_id("job", made_one) for made_one in made)


@pytest.mark.parametrize(
    "text",
    [
        "job_01ARZ3NDEKTSV4RRFFQ69G5FA",
        "job_01ARZ3NDEKTSV4RRFFQ69G5FAVV",
        "job_01arz3ndektsv4rrffq69g5fav",
        "job_01ARZ3NDEKTSV4RRFFQ69G5FAV\n",
        "ckpt_01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "job_../../../../../../../../../a",
        "job_0١ARZ3NDEKTSV4RRFFQ69G5FAV",
        "",
    ],
)
def test_what_we_did_not_make_is_no_id_of_a_job(text):
    assert not ids.is_id("job", text)
