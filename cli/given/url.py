"""The server a command speaks to: --url, or STILLHOUSE_URL, or the one `kd serve` starts by default."""

from typing import Annotated

import typer

DEFAULT_URL = "http://127.0.0.1:8000"

Url = Annotated[str, typer.Option("--url", envvar="STILLHOUSE_URL", help="The server.")]
