"""Settings: sensible without any, and an error that helps for each that is wrong."""

import os
from pathlib import Path

import pytest
from kombu import Connection
from sqlalchemy import make_url

from jobs.errors import BadSettings
from jobs.hosts import Hosts
from jobs.settings import PREFIX, Settings


@pytest.fixture(autouse=True)
def _a_clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)


def test_nothing_needs_to_be_set(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    settings = Settings()

    assert settings.url == f"sqlite:///{tmp_path}/data/stillhouse.db"
    assert (settings.broker_url, settings.lease_seconds, settings.heartbeat_seconds) == (None, 30, 2)
    assert (settings.poll_seconds, settings.max_stalls, settings.max_body_bytes) == (0.25, 3, 1_000_000)
    assert settings.standby
    assert settings.log_level == "INFO"


def test_the_data_folder_stays_where_it_was_when_the_process_moves(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    settings = Settings(data_dir=Path("here"))
    monkeypatch.chdir("/")

    assert settings.data_dir == tmp_path / "here"


def test_the_environment_sets_them(monkeypatch):
    monkeypatch.setenv("STILLHOUSE_DATABASE_URL", "postgresql://me:secret@db/stillhouse")
    monkeypatch.setenv("STILLHOUSE_BROKER_URL", "redis://redis:6379/0")
    monkeypatch.setenv("STILLHOUSE_LEASE_SECONDS", "60")
    monkeypatch.setenv("STILLHOUSE_STANDBY", "no")
    monkeypatch.setenv("STILLHOUSE_LOG_LEVEL", "debug")

    settings = Settings()

    assert settings.url == "postgresql://me:secret@db/stillhouse"
    assert (settings.broker_url, settings.lease_seconds) == ("redis://redis:6379/0", 60)
    assert (settings.standby, settings.log_level) == (False, "DEBUG")
    assert "secret" not in repr(settings)


def test_hosts_for_webhooks_are_names_and_networks(monkeypatch):
    monkeypatch.setenv("STILLHOUSE_WEBHOOK_HOSTS", " Hooks.local, redis,10.0.0.0/8,, 192.168.0.7,[fd00::1],fe80::/10")

    settings = Settings()

    assert settings.webhook_targets.names == {"hooks.local", "redis"}
    assert [str(network) for network in settings.webhook_targets.networks] == [
        *("10.0.0.0/8", "192.168.0.7/32", "fd00::1/128", "fe80::/10")
    ]
    monkeypatch.setenv("STILLHOUSE_WEBHOOK_HOSTS", "")
    assert Settings().webhook_targets == Hosts(frozenset(), ())


def test_an_empty_url_is_no_url(monkeypatch):
    monkeypatch.setenv("STILLHOUSE_BROKER_URL", "")
    monkeypatch.setenv("STILLHOUSE_DATABASE_URL", "")

    assert Settings().broker_url is None
    assert Settings().url.startswith("sqlite:///")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEASE_SECONDS", "soon"),
        ("LEASE_SECONDS", "0"),
        ("LEASE_SECONDS", "nan"),
        ("HEARTBEAT_SECONDS", "-1"),
        ("HEARTBEAT_SECONDS", "20"),
        ("POLL_SECONDS", "0"),
        ("MAX_STALLS", "0"),
        ("MAX_STALLS", "2.5"),
        ("MAX_BODY_BYTES", "10"),
        ("STANDBY", "perhaps"),
        ("LOG_LEVEL", "LOUD"),
        ("DATABASE_URL", "mysql://me:secret@db/x"),
        ("DATABASE_URL", "postgresql+asyncpg://me:secret@db/x"),
        ("DATABASE_URL", "secret"),
        ("DATABASE_URL", "postgresql://me:secret@db:port/x"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("BROKER_URL", "amqp://me:secret@broker"),
        ("BROKER_URL", "secret:6379"),
        ("WEBHOOK_HOSTS", "hooks.local 10.0.0.0/8"),
        ("WEBHOOK_HOSTS", "hooks.local,10.0.0.1/8"),
        ("WEBHOOK_HOSTS", "10.0.0.256"),
        ("WEBHOOK_HOSTS", "http://hooks.local"),
    ],
)
def test_a_bad_value_is_an_error_that_names_the_variable_and_keeps_secrets(monkeypatch, name, value):
    monkeypatch.setenv(f"STILLHOUSE_{name}", value)

    with pytest.raises(BadSettings, match=f"STILLHOUSE_{name}") as refused:
        Settings()

    assert len(refused.value.problems) == 1
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_all_that_is_wrong_is_said_at_once(monkeypatch):
    monkeypatch.setenv("STILLHOUSE_MAX_STALLS", "none")
    monkeypatch.setenv("STILLHOUSE_POLL_SECONDS", "never")

    with pytest.raises(BadSettings, match=r"(?s)POLL_SECONDS.*MAX_STALLS"):
        Settings()


ANY_CHARACTER = pytest.mark.parametrize(
    "password", ["p@ss/word#1", "a:b@c?d=e&f;g", "100% sure", "päss wörd", "'\"\\", "--$HOME"]
)


@ANY_CHARACTER
def test_a_password_of_its_own_may_hold_any_character(monkeypatch, password):
    monkeypatch.setenv("STILLHOUSE_DATABASE_URL", "postgresql://stillhouse@db:5432/jobs")
    monkeypatch.setenv("STILLHOUSE_DATABASE_PASSWORD", password)

    url = make_url(Settings().url)

    assert (url.username, url.password, url.host, url.port, url.database) == (
        "stillhouse",
        password,
        "db",
        5432,
        "jobs",
    )
    assert password not in repr(Settings())


@ANY_CHARACTER
def test_so_may_the_broker_s(monkeypatch, password):
    monkeypatch.setenv("STILLHOUSE_BROKER_URL", "redis://me@redis:6379/3")
    monkeypatch.setenv("STILLHOUSE_BROKER_PASSWORD", password)

    rung = Connection(Settings().broker)

    assert (rung.userid, rung.password, rung.hostname, rung.port, rung.virtual_host) == (
        "me",
        password,
        "redis",
        6379,
        "3",
    )
    assert password not in repr(Settings())


def test_a_password_of_several_brokers_is_that_of_each(monkeypatch):
    monkeypatch.setenv("STILLHOUSE_BROKER_URL", "sentinel://one:26379/0;sentinel://two:26379/0")
    monkeypatch.setenv("STILLHOUSE_BROKER_PASSWORD", "a;b")

    assert Settings().broker == "sentinel://:a%3Bb@one:26379/0;sentinel://:a%3Bb@two:26379/0"


@pytest.mark.parametrize("whose", ["DATABASE", "BROKER"])
def test_a_password_without_what_it_is_for_is_refused(monkeypatch, whose):
    monkeypatch.setenv(f"STILLHOUSE_{whose}_PASSWORD", "secret")

    with pytest.raises(BadSettings, match=f"STILLHOUSE_{whose}_PASSWORD is of no use without"):
        Settings()
