"""Where the command speaks: tables and sentences on stdout, trouble on stderr.

All that it says goes through here, so that nothing which came from elsewhere steers the terminal: the names that others
gave, a server's messages, a trainer's log.
"""

import sys
from collections.abc import Iterable
from typing import Any

from pydantic_core import to_json
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table

from kd.printable import printed, printed_json

# A pipe has no width of its own; a table cut at 80 columns would lose ids.
PIPE_WIDTH = 200


class PrintedConsole(Console):
    """A console on which text steers nothing; colours and the movements of a bar are no text."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        # Of the innermost parts, too: a table makes room for what is shown.
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printed(segment.text))


def console(stderr: bool = False) -> Console:
    to = sys.stderr if stderr else sys.stdout
    return PrintedConsole(stderr=stderr, highlight=False, soft_wrap=True, width=None if to.isatty() else PIPE_WIDTH)


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """A plain table; the columns named in `right` hold numbers."""
    made = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", no_wrap=True)
    return made


def print_json(content: Any) -> None:
    """For programs: numbers that JSON has not, as the API writes them, as strings."""
    sys.stdout.write(printed_json(to_json(content, indent=2, inf_nan_mode="strings").decode()) + "\n")


def print_log(text: str) -> None:
    """Lines that a program printed. Where it drew over a line, as progress bars do, there are several."""
    sys.stdout.write(printed(text.replace("\r\n", "\n").replace("\r", "\n")))
