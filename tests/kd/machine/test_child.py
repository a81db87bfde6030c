"""Between a process and its child: orders and wishes come in, messages go out, and neither outlives its use."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from kd.machine import child
from kd.machine.child import SAVE, Lifeline

LONG = 60


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ours, parents = os.pipe()  # ours is minded by a thread for as long as the other end is open, and a moment longer
    yield ours, parents
    with contextlib.suppress(OSError):  # the test has closed it
        os.close(parents)


def test_an_order_and_a_wish_to_save_are_told_apart_however_they_arrive(pipe):
    ours, parents = pipe
    lifeline = Lifeline(at_end=threading.Event().set, descriptor=ours)

    for part in (b'{"spec": ', b'"x"}\nsa', b"ve\n"):
        os.write(parents, part)

    assert lifeline.order() == b'{"spec": "x"}'
    assert lifeline.save_now.wait(LONG)


@pytest.mark.parametrize("reads", [True, False])
def test_the_end_of_the_parent_is_seen_also_by_who_only_shares_the_pipe(pipe, reads):
    ours, parents = pipe
    gone = threading.Event()
    lifeline = Lifeline(at_end=gone.set, reads=reads, descriptor=ours)
    os.write(parents, SAVE + b"\n")
    assert not gone.is_set()

    os.close(parents)

    assert gone.wait(LONG)
    assert lifeline.save_now.is_set() == reads


def test_a_parent_whose_end_shows_at_the_other_pipe_first_is_gone_as_well(pipe):
    ours, _ = pipe
    gone = threading.Event()
    lifeline = Lifeline(at_end=gone.set, descriptor=ours)
    theirs, out = os.pipe()
    messages = os.fdopen(out, "w")
    lifeline.say(messages, "there")
    assert os.read(theirs, 100) == b"there\n"

    os.close(theirs)
    with pytest.raises(BrokenPipeError):
        lifeline.say(messages, "and gone")

    assert gone.is_set(), "whoever raises here would have ended us before we ended what we had started"
    with contextlib.suppress(BrokenPipeError):
        messages.close()


class Clock:
    """Time that passes when the test says so, for whoever asks this module."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.now = 0.0
        monkeypatch.setattr(child, "time", self)
        monkeypatch.setattr(child, "LOOK_SECONDS", 0.01)

    def monotonic(self) -> float:
        return self.now


def test_a_parent_that_says_nothing_for_too_long_is_taken_for_gone(pipe, monkeypatch):
    ours, parents = pipe
    clock, gone = Clock(monkeypatch), threading.Event()
    lifeline = Lifeline(at_end=gone.set, descriptor=ours)
    clock.now = 1_000
    os.write(parents, b"{}\n")
    assert lifeline.order() == b"{}", "without a word about beats it may be silent for as long as it likes"

    lifeline.expect_beats(30)
    for _ in range(5):
        clock.now += 29
        os.write(parents, b"beat\n" + b"then\n")
        assert lifeline.order() == b"then", "and beats are no orders"
    assert not gone.is_set()
    clock.now += 31

    assert gone.wait(LONG)


def test_to_a_child_that_does_not_read_beats_are_not_said_without_end():
    sleeps = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(sleeps, stdin=subprocess.PIPE) as process:
        for _ in range(30_000):  # of which a pipe holds some 13,000
            child.beat(process)
        process.kill()


def test_who_has_no_order_yet_ends_with_its_parent():
    idle = "from kd.machine.child import Lifeline; Lifeline().order()"
    process = subprocess.Popen([sys.executable, "-c", idle], stdin=subprocess.PIPE)

    child.let_go(process)

    assert process.wait(LONG) == 0


def test_what_libraries_print_is_no_message():
    code = """
import os
from kd.machine.child import take_stdout
messages = take_stdout()
print("a library greets", flush=True)
os.write(1, b"so does native code\\n")
print('{"event": "ready"}', file=messages)
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert answer.stdout == b'{"event": "ready"}\n'
    assert answer.stderr == b"a library greets\nso does native code\n"


def test_a_folder_that_has_our_name_where_the_caller_stands_is_not_ours(tmp_path, monkeypatch):
    (tmp_path / "kd").mkdir()
    (tmp_path / "kd" / "__init__.py").write_text("raise SystemExit('not ours')")
    monkeypatch.chdir(tmp_path)

    process = child.start("kd.machine.child", listen=False)

    assert process.wait(LONG) == 0


def test_to_tell_a_child_that_has_died_something_is_no_error():
    process = child.start("kd.machine.child")
    process.wait(LONG)

    child.tell(process, SAVE)
    child.let_go(process)
    child.tell(process, SAVE)
