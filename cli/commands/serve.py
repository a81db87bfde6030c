"""`kd serve`: the server and one worker on SQLite, from one command; `kd work`: one more worker."""

import ipaddress
import os
import signal
import socket
import sys
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from cli.errors import MissingExtra, Misused, Trouble, extra
from cli.worker_process import WorkerProcess

if TYPE_CHECKING:
    from jobs.settings import Settings

# As many may wait to be let in as the kernel allows, while the server is busy for a moment.
BACKLOG = 1_024


def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")] = 8000,
    data: Annotated[
        Path | None, typer.Option(help="Database, checkpoints, logs. Default: STILLHOUSE_DATA_DIR, or ./data.")
    ] = None,
    no_worker: Annotated[bool, typer.Option("--no-worker", help="Serve only; `kd work` runs the jobs.")] = False,
    allow_unauthenticated: Annotated[
        bool, typer.Option("--allow-unauthenticated", help="Listen beyond this machine although there are no API keys.")
    ] = False,
) -> None:
    """Start the server, and a worker beside it."""
    if not is_loopback(host) and not allow_unauthenticated:
        raise Misused(
            f"{host} can be reached from other machines, and there are no API keys yet: whoever reaches it can use "
            "it. If that is what you want, add --allow-unauthenticated."
        )
    with extra("api", "serve"):
        from api import server
        from api.app import build_app
    if data is not None:
        os.environ["STILLHOUSE_DATA_DIR"] = str(data.expanduser().absolute())  # the worker reads it as well
    with ExitStack() as stack:
        listener = stack.enter_context(listen(host, port))
        settings = prepare_settings()
        signal.signal(signal.SIGTERM, _leave)
        if not no_worker and settings.broker_url is None:
            require_torch("serve")
            stack.enter_context(WorkerProcess())
        server.serve(build_app(settings), listener, say_started=partial(greet, listener, settings))


def work() -> None:
    """Run jobs until Ctrl-C or SIGTERM; the job under way then goes back to the queue."""
    require_torch("work")
    with extra("worker", "work"):
        from worker import loop
    prepare_settings()
    raise typer.Exit(loop.main([]))


def require_torch(command: str) -> None:
    """Only the worker's child will load torch; that it cannot should be said before a job is claimed."""
    if find_spec("torch") is None:
        raise MissingExtra(command, "torch", "worker")


def prepare_settings() -> "Settings":
    """The settings, with the data folder made and the tables of this version: SQLite's are brought up to date, those of
    PostgreSQL are their operator's to change."""
    from alembic.util import CommandError
    from sqlalchemy.exc import DBAPIError

    from jobs.database import migrate
    from jobs.database.engine import Sessions, connect
    from jobs.settings import Settings

    settings = Settings()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    engine = connect(settings.url)
    try:
        if engine.dialect.name == "sqlite":
            migrate.upgrade(engine)
        elif not migrate.is_current(Sessions(engine)):
            print(
                f"The tables of {engine.url!r} are not those of this version; `alembic upgrade head` brings them up to "
                "date.",
                file=sys.stderr,
                flush=True,
            )
    except DBAPIError as error:
        raise Trouble(f"The database at {engine.url!r} cannot be used: {error.orig}") from error
    except CommandError as error:  # its tables are of a version that this code has never heard of
        raise Trouble(f"The database at {engine.url!r} is of a newer version of Stillhouse: {error}.") from error
    finally:
        engine.dispose()
    return settings


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """A socket that is ours from now on, so that a port in use is known before anything is started."""
    try:
        # IPv4 first: `localhost` is often both, and 127.0.0.1 is where people look.
        family, _, _, _, address = min(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        # Named as TCP: asyncio turns Nagle's delay (40 ms an answer) off only on sockets that say so.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port is free again at once
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise Trouble(f"Cannot listen on {host}:{port}: {why}. --port 0 takes a free port.") from error
    return listener


def greet(listener: socket.socket, settings: "Settings") -> None:
    """Say where the server is."""
    host, port = listener.getsockname()[:2]
    where = f"[{host}]" if ":" in host else host
    print(f"Stillhouse listens on http://{where}:{port} (data in {settings.data_dir})", flush=True)


def _leave(signum: int, frame: object) -> NoReturn:
    sys.exit(0)
