"""What can go wrong with a job: facts in, a sentence out."""

from collections.abc import Collection, Sequence

from kd.spec import faults
from kd.spec.faults import Fault


class JobError(Exception):
    """The base of everything that this package raises on purpose."""


class JobNotFound(JobError):
    def __init__(self, job_id: str):
        self.job_id = job_id
        super().__init__(f"There is no job {job_id!r}.")


class WorkerNotFound(JobError):
    def __init__(self, name: str):
        self.name = name
        super().__init__(f"There is no worker {name!r}.")


class WebhookNotFound(JobError):
    def __init__(self, webhook_id: str):
        self.webhook_id = webhook_id
        super().__init__(f"There is no webhook {webhook_id!r}.")


class DeliveryNotFound(JobError):
    def __init__(self, delivery_id: str):
        self.delivery_id = delivery_id
        super().__init__(f"There is no delivery {delivery_id!r} of this webhook.")


class CheckpointNotFound(JobError):
    def __init__(self, job_id: str, which: str):
        self.job_id, self.which = job_id, which
        super().__init__(f"Job {job_id} has no checkpoint {which!r} to download.")


class ArtifactNotFound(JobError):
    def __init__(self, job_id: str, name: str):
        self.job_id, self.name = job_id, name
        super().__init__(f"Job {job_id} has no artifact {name!r}.")


class ReportNotFound(JobError):
    """`why`: the rest of the sentence, which says what to wait for or to ask for instead."""

    def __init__(self, job_id: str, why: str):
        self.job_id = job_id
        super().__init__(f"Job {job_id} {why}.")


class NoTeacher(JobError):
    """A job cannot lend a model to teach another job's student."""

    def __init__(self, job_id: str, why: str):
        self.job_id, self.why = job_id, why
        super().__init__(f"Job {job_id} {why}.")


class NoTeacherYet(NoTeacher):
    """It may come to have one: it has not ended."""


class SpecRefused(JobError):
    """A spec that is valid by itself, and asks for what is not to be had here."""

    def __init__(self, found: Sequence[Fault]):
        self.faults = found
        super().__init__(faults.sentence(found))


class FileGone(JobError):
    """The row is there, the file is not: deleted behind our back, or superseded a moment ago."""

    def __init__(self, path: str):
        self.path = path
        super().__init__(f"The file {path!r} is no longer there.")


class FileDamaged(JobError):
    """A file whose content is not what its row says."""

    def __init__(self, name: str):
        super().__init__(f"{name} is not what was written.")


class NotAllowed(JobError):
    def __init__(self, job_id: str, state: str, action: str, allowed: Collection[str], *, what: str = "Job"):
        self.job_id, self.state, self.action, self.allowed = job_id, state, action, tuple(allowed)
        instead = f"It allows: {', '.join(allowed)}." if allowed else "It allows no further change."
        super().__init__(f"{what} {job_id} is {state}, so one cannot {action} it. {instead}")


class SweepNotFound(JobError):
    def __init__(self, sweep_id: str):
        self.sweep_id = sweep_id
        super().__init__(f"There is no sweep {sweep_id!r}.")


class InUse(JobError):
    """A job that others, which have not ended, take their teacher from."""

    def __init__(self, job_id: str, borrowers: Collection[str]):
        self.job_id, self.borrowers = job_id, tuple(borrowers)
        super().__init__(f"Job {job_id} lends a model to {', '.join(borrowers)}; delete it when they have ended.")


class TableLent(JobError):
    """Pushed labels from which jobs, which have not ended, learn."""

    def __init__(self, table_id: str, borrowers: Collection[str]):
        super().__init__(
            f"Label table {table_id} teaches {', '.join(borrowers)}, and nobody here can make it again; delete it when "
            "they have ended."
        )


class NoSuchUpload(JobError):
    def __init__(self, upload_id: str):
        super().__init__(f"There is no upload {upload_id!r}; those that nobody brings on are deleted after a day.")


class UploadInUse(JobError):
    """A file of which a job makes a data set."""

    def __init__(self, upload_id: str, users: Collection[str]):
        super().__init__(f"{', '.join(users)} makes a data set of {upload_id}; cancel it first.")


class PartMisplaced(JobError):
    """A part of an upload that is not the next one."""

    def __init__(self, upload_id: str, received: int, size: int):
        self.received = received
        super().__init__(f"Of {upload_id} {received} of {size} bytes are there: the next part begins at {received}.")


class DatasetNotFound(JobError):
    def __init__(self, name: str):
        super().__init__(f"There is no data set {name!r}.")


class DatasetNotExamined(JobError):
    def __init__(self, name: str):
        super().__init__(
            f"Nobody has looked through {name!r} yet: `kd data doctor {name} --data <data_dir>` does on the server's "
            "machine, and writes its report."
        )


class DatasetInUse(JobError):
    """Images that jobs need which have not ended."""

    def __init__(self, name: str, users: Collection[str]):
        super().__init__(f"{', '.join(users)} need {name}; delete it when they have ended.")


class TeacherLent(JobError):
    """A teacher that somebody has brought, and that jobs need which have not ended."""

    def __init__(self, teacher_id: str, borrowers: Collection[str]):
        super().__init__(f"{', '.join(borrowers)} need {teacher_id}; delete it when they have ended.")


class KeyReused(JobError):
    """An idempotency key that came with another request before."""

    def __init__(self, key: str, made: str, *, what: str = "job"):
        self.key = key
        super().__init__(
            f"Idempotency-Key {key!r} was sent before, with another request, which made {what} {made}. "
            f"Take a new key for a new {what}."
        )


class NoRoom(JobError):
    """The disk, or what jobs may take of it, is full."""

    def __init__(self, why: str):
        self.why = why
        super().__init__(why)


class DatabaseFull(JobError):
    def __init__(self) -> None:
        super().__init__(
            "The database cannot grow: its disk is full, or a limit on the size of its files is reached. What is there "
            "can be read; nothing can be changed until there is room."
        )


class DatabaseReadOnly(JobError):
    def __init__(self) -> None:
        super().__init__(
            "The database takes no changes: it is a standby, or read-only. What is there can be read; try again once "
            "its operator has dealt with it."
        )


class LeaseLost(JobError):
    def __init__(self, job_id: str, attempt: int):
        self.job_id, self.attempt = job_id, attempt
        super().__init__(f"Job {job_id} has moved on from attempt {attempt}; drop this work.")


class AlreadyWritten(JobError):
    """A write whose answer was lost has been done all the same: the first `messages` of the attempt are written."""

    def __init__(self, job_id: str, messages: int):
        self.job_id, self.messages = job_id, messages
        super().__init__(f"Of what job {job_id} says in this attempt the first {messages} messages are written.")


class NotStorable(JobError, ValueError):
    """A value that no database column may hold."""

    def __init__(self, field: str, why: str):
        self.field, self.why = field, why
        super().__init__(f"{field} {why}.")


class UnsafePath(JobError, ValueError):
    def __init__(self, path: str):
        self.path = path
        super().__init__(f"{path!r} is not a path inside the data folder.")


class BadSettings(JobError, ValueError):
    def __init__(self, problems: Collection[str]):
        self.problems = tuple(problems)
        super().__init__("These settings are wrong:\n" + "\n".join(f"  {problem}" for problem in problems))
