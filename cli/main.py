"""The `kd` command: every subcommand in its place, and no traceback for what is not a bug of ours."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli.commands import (
    change,
    data,
    fetch,
    labels,
    ls,
    pack,
    presets,
    run,
    serve,
    show,
    submit,
    sweep,
    teacher,
    watch,
    workers,
)
from cli.errors import trouble_of
from cli.shown.console import console


class CommandGroup(TyperGroup):
    """Errors that speak for themselves end here, with an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            trouble = trouble_of(error)
            if trouble is None:
                raise
            console(stderr=True).print(str(trouble), markup=False)
            raise typer.Exit(trouble.exit_code) from error


app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Stillhouse distils: labelled images in, a small verified student out.",
)


def print_version(wanted: bool) -> None:
    if wanted:
        from kd.version import VERSION

        console().print(f"stillhouse {VERSION}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Say it and leave.")
    ] = False,
) -> None:
    pass


app.command()(serve.serve)
app.command()(serve.work)
app.command()(submit.submit)
app.command()(watch.watch)
app.command()(ls.ls)
app.command()(show.show)
app.command()(fetch.logs)
app.command()(fetch.download)
app.command()(fetch.report)
app.command()(change.pause)
app.command()(change.resume)
app.command()(change.cancel)
app.command()(submit.retry)
app.command()(change.change)
app.command()(change.delete)
app.command()(presets.presets)
app.command()(workers.workers)
app.command()(workers.drain)
app.command()(workers.undrain)
app.add_typer(sweep.app, name="sweep")
app.command()(run.run)
app.command()(pack.pack)
app.add_typer(data.app, name="data")
app.add_typer(labels.app, name="labels")
app.add_typer(teacher.app, name="teacher")

if __name__ == "__main__":
    app()
