"""The `kd` command: every subcommand in its place, and no traceback for what is not a bug of ours."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli.commands import changing, pack, remote, run, serve, submit, watch, workers
from cli.errors import explained
from cli.shown.console import console


class Gate(TyperGroup):
    """Errors that speak for themselves end here, with an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            trouble = explained(error)
            if trouble is None:
                raise
            console(stderr=True).print(str(trouble), markup=False)
            raise typer.Exit(trouble.exit_code) from error


app = typer.Typer(
    cls=Gate,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Stillhouse distils: labelled images in, a small verified student out.",
)


def version(wanted: bool) -> None:
    if wanted:
        from jobs.version import VERSION

        console().print(f"stillhouse {VERSION}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Say it and leave.")
    ] = False,
) -> None:
    pass


app.command()(serve.serve)
app.command()(serve.work)
app.command()(submit.submit)
app.command()(watch.watch)
app.command()(remote.ls)
app.command()(remote.show)
app.command()(remote.logs)
app.command()(remote.download)
app.command()(changing.pause)
app.command()(changing.resume)
app.command()(changing.cancel)
app.command()(submit.retry)
app.command()(changing.change)
app.command()(changing.delete)
app.command()(workers.workers)
app.command()(workers.drain)
app.command()(workers.undrain)
app.command()(run.run)
app.command()(pack.pack)

if __name__ == "__main__":
    app()
