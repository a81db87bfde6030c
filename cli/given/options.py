"""What most commands take: which job, which jobs, and whether to print JSON."""

from typing import Annotated

import typer

Job = Annotated[str, typer.Argument(help="The job's id.", show_default=False)]
Jobs = Annotated[list[str], typer.Argument(metavar="JOB...", help="Ids of jobs.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Status = Annotated[str | None, typer.Option(help="queued, running, paused, succeeded, failed or cancelled.")]
Mode = Annotated[str | None, typer.Option(help="train or guide.")]
Label = Annotated[str | None, typer.Option(metavar="KEY=VALUE", help="Jobs with this label.")]
Query = Annotated[str | None, typer.Option("--query", "-q", help="Part of an id or a name.")]
