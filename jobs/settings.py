"""Every environment variable, its default, and why one would change it."""

from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote, urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from jobs import hosts
from jobs.errors import BadSettings
from jobs.files import layout
from jobs.hosts import Hosts, NoHost
from kd.labels.cache import DEFAULT_BYTES
from kd.teachers.kinds import LARGEST_BYTES

PREFIX = "STILLHOUSE_"

DATABASES = ("sqlite", "sqlite+pysqlite", "postgres", "postgresql", "postgresql+psycopg")
BROKERS = ("redis", "rediss", "redis+socket", "sentinel")


class Settings(BaseSettings):
    """Read once, when a process starts. Each is the environment variable STILLHOUSE_<NAME>."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True)

    data_dir: Path = Field(default=Path("data"), validate_default=True)
    """Checkpoints, logs and, by default, the database. Put it on the disk that has room."""

    database_url: str | None = Field(default=None, repr=False)
    """`postgresql://user:password@host/name` once there is more than one machine. Default: SQLite in data_dir."""

    database_password: str | None = Field(default=None, repr=False)
    """That of database_url, as it is: within the URL some characters would have to be written in another way."""

    broker_url: str | None = Field(default=None, repr=False)
    """`redis://host:6379/0` starts jobs at once on many machines. Without it workers poll."""

    broker_password: str | None = Field(default=None, repr=False)
    """That of broker_url, as it is."""

    lease_seconds: float = Field(default=30, ge=1, le=3600)
    """How long a silent worker keeps its job. Longer where workers or the database pause for long."""

    heartbeat_seconds: float = Field(default=2, gt=0, le=600)
    """How often a worker renews its lease, and so how fast a cancel reaches it."""

    poll_seconds: float = Field(default=0.25, gt=0, le=60)
    """How often an idle worker looks for work. Longer with many workers and a broker."""

    max_stalls: int = Field(default=3, ge=1, le=100)
    """Attempts in a row without progress (a larger share of the run in a checkpoint or in kept labels) before a job
    fails."""

    retry_seconds: float = Field(default=5, ge=0, le=600)
    """How long a job waits after a crash without progress; after each further one in a row six times as long, ten
    minutes at most. 0: it is tried again at once."""

    max_body_bytes: int = Field(default=1_000_000, ge=1_000, le=1_000_000_000)
    """The largest request body."""

    max_labels_bytes: int = Field(default=200_000_000, ge=1_000, le=100_000_000_000)
    """The largest file of labels that may be pushed. Larger for a large data set: 10 MB take the server about a
    second."""

    max_teacher_bytes: int = Field(default=500_000_000, ge=1_000, le=LARGEST_BYTES)
    """The largest file of a teacher that may be brought."""

    max_upload_bytes: int = Field(default=20_000_000_000, ge=1_000, le=10_000_000_000_000)
    """The largest file that may be brought to become a data set."""

    label_cache_bytes: int = Field(default=DEFAULT_BYTES, ge=0)
    """What all label tables together may take on disk; 0 is no limit. Larger where teachers are costly to ask twice."""

    quota_bytes: int = Field(default=0, ge=0)
    """What the files of all jobs together may take before new jobs are refused; 0 is no limit."""

    min_free_bytes: int = Field(default=1_000_000_000, ge=0)
    """With less than this free on the data folder's disk no job is taken or started."""

    trainer_memory_bytes: int = Field(default=0, ge=0)
    """What a trainer may use of the machine's memory; 0 is all of it. Smaller beside other programs."""

    allowed_hosts: str = ""
    """Names and networks (`kd.example.org,10.0.0.0/8`), by commas, under which clients know this server, besides those
    of this machine. A request for any other is refused."""

    webhook_hosts: str = ""
    """Host names and networks (`10.0.0.0/8`), by commas, that webhooks may reach although they are not public."""

    standby: bool = True
    """Keep a trainer warm (torch imported): jobs start seconds earlier for some 300 MB of memory."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """How much the logs say."""

    def __init__(self, **values: Any):
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise BadSettings([_sentence(problem) for problem in error.errors()]) from None

    @field_validator("database_url", "database_password", "broker_url", "broker_password", mode="before")
    @classmethod
    def _empty_is_unset(cls, given: Any) -> Any:
        return None if given == "" else given

    @field_validator("log_level", mode="before")
    @classmethod
    def _any_case(cls, given: Any) -> Any:
        return given.upper() if isinstance(given, str) else given

    @field_validator("data_dir")
    @classmethod
    def _stays_when_the_working_folder_changes(cls, given: Path) -> Path:
        return given.expanduser().absolute()

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, given: str | None) -> str | None:
        if given is None:
            return None
        try:
            url = make_url(given)
        except (ArgumentError, ValueError):  # ValueError: a port that is no number
            raise PydanticCustomError("database_url", "not a database URL; give postgresql://user@host/name") from None
        if url.drivername not in DATABASES:
            raise PydanticCustomError(
                "database_url", "cannot use {driver}; give postgresql:// or sqlite:///", {"driver": url.drivername}
            )
        if url.drivername.startswith("sqlite") and url.database in (None, "", ":memory:"):
            raise PydanticCustomError("database_url", "SQLite needs a file, as in sqlite:////var/lib/stillhouse.db")
        return given

    @field_validator("broker_url")
    @classmethod
    def _known_broker(cls, given: str | None) -> str | None:
        if given is not None and given.partition("://")[0] not in BROKERS:
            raise PydanticCustomError("broker_url", "not a broker URL; give redis://host:6379/0")
        return given

    @field_validator("allowed_hosts", "webhook_hosts")
    @classmethod
    def _names_and_networks(cls, given: str) -> str:
        try:
            hosts.parse(given)
        except NoHost as error:
            raise PydanticCustomError(
                "hosts",
                "{what}; give some by commas, as in hooks.local,10.0.0.0/8",
                {"what": str(error)},
            ) from None
        return given

    @model_validator(mode="after")
    def _a_password_has_a_database(self) -> Self:
        if self.database_password is not None and make_url(self.url).get_backend_name() == "sqlite":
            raise PydanticCustomError(
                "database_password",
                "STILLHOUSE_DATABASE_PASSWORD is of no use without a STILLHOUSE_DATABASE_URL of PostgreSQL",
            )
        return self

    @model_validator(mode="after")
    def _a_password_has_a_broker(self) -> Self:
        if self.broker_password is not None and self.broker_url is None:
            raise PydanticCustomError(
                "broker_password", "STILLHOUSE_BROKER_PASSWORD is of no use without a STILLHOUSE_BROKER_URL"
            )
        return self

    @model_validator(mode="after")
    def _a_lease_outlives_some_heartbeats(self) -> Self:
        if self.heartbeat_seconds > self.lease_seconds / 3:
            raise PydanticCustomError(
                "heartbeat",
                "STILLHOUSE_HEARTBEAT_SECONDS must be at most a third of STILLHOUSE_LEASE_SECONDS ({lease})",
                {"lease": self.lease_seconds},
            )
        return self

    @property
    def url(self) -> str:
        """The database's URL, also when none was given."""
        if self.database_url is None or self.database_password is None:
            return self.database_url or f"sqlite:///{self.data_dir / layout.DATABASE}"
        return make_url(self.database_url).set(password=self.database_password).render_as_string(hide_password=False)

    @property
    def broker(self) -> str | None:
        """The broker's URL with the password in it, which Celery takes in no other way; None if there is no broker."""
        if self.broker_url is None or self.broker_password is None:
            return self.broker_url
        return ";".join(_with_password(url, self.broker_password) for url in self.broker_url.split(";"))

    @property
    def names(self) -> Hosts:
        """What `allowed_hosts` names."""
        return hosts.parse(self.allowed_hosts)

    @property
    def webhook_targets(self) -> Hosts:
        """What `webhook_hosts` names."""
        return hosts.parse(self.webhook_hosts)


def _with_password(url: str, password: str) -> str:
    parts = urlsplit(url)
    userinfo, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{userinfo.partition(':')[0]}:{quote(password, safe='')}@{host}").geturl()


def _sentence(problem: Any) -> str:
    name = "".join(f"{PREFIX}{part}".upper() for part in problem["loc"][:1])
    return f"{name}: {problem['msg']}" if name else str(problem["msg"])
