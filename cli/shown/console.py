"""Where the command speaks: tables and sentences on stdout, trouble on stderr."""

import sys
from typing import Any

from pydantic_core import to_json
from rich.console import Console
from rich.table import Table

# A pipe has no width of its own; a table cut at 80 columns would lose ids.
PIPE_WIDTH = 200


def console(stderr: bool = False) -> Console:
    to = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, soft_wrap=True, width=None if to.isatty() else PIPE_WIDTH)


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """A plain table; the columns named in `right` hold numbers."""
    made = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", no_wrap=True)
    return made


def print_json(content: Any) -> None:
    """For programs: numbers that JSON has not, as the API writes them, as strings."""
    sys.stdout.write(to_json(content, indent=2, inf_nan_mode="strings").decode() + "\n")
