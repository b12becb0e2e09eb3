"""The typer app. Nothing heavy is imported before a command begins: ``--help`` answers at once."""

from __future__ import annotations

import gc
import os
import re
import sys
from typing import Annotated

import typer

from asterism.cli import commands_data, commands_fit, commands_groups, commands_run
from asterism.cli.added import Command, Commands
from asterism.cli.errors import USER_ERROR, debugging, described, flushed, guarded, terminate_softly
from asterism.cli.text import note, say
from asterism.errors import InputError, StorageError
from asterism.images.locations import OFFLINE
from asterism.plugins import without_papers

YOUNG = 10_000  # new objects after which Python looks for cycles: with its 700, a fifth of the seconds of all imports

app = typer.Typer(
    name="asterism",
    cls=Commands,
    help="Group unlabelled images, and learn the features that tell the groups apart.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,  # --debug shows Python's own tracebacks
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SHARED = (commands_fit.cluster, commands_data.suggest_k, commands_run.predict, commands_run.embed)

for command in (
    commands_fit.cluster,
    commands_data.suggest_k,
    commands_run.predict,
    commands_run.embed,
    commands_run.evaluate,
    commands_run.report,
    commands_groups.export,
    commands_groups.cut,
    commands_groups.pick,
    commands_run.filters,
    commands_data.methods,
    commands_data.backbones,
    commands_data.data,
    commands_fit.demo,
):
    app.command(cls=Command)(guarded(command, shared=command in SHARED))

lacking = without_papers()
transfer = typer.Typer(  # its commands are added ones
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog=f"Its commands come with {lacking}" if lacking else None,
)
app.add_typer(transfer, name="transfer", hidden=bool(lacking))


@transfer.callback()
def _transfer() -> None:
    """Measure what the features of a run are good for."""


def _version(wanted: bool) -> None:
    if wanted:
        from asterism import __version__

        say(__version__)
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error came from (also ASTERISM_DEBUG=1).")
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Fetch neither data nor weights (also ASTERISM_OFFLINE=1).")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Group unlabelled images, and learn the features that tell the groups apart."""
    if debug:
        os.environ["ASTERISM_DEBUG"] = "1"
    if offline:
        os.environ.update(dict.fromkeys(OFFLINE, "1"))


def _check_empty(arguments: list[str]) -> None:
    """See that no argument is empty: it would be the working folder, or as good as not given; raises `InputError`."""
    for before, one in zip(["", *arguments], arguments, strict=False):
        if one == "" or re.fullmatch("--[a-z-]+=", one):
            which = one[:-1] or (f"what follows {before}" if before.startswith("-") else "an argument")
            raise InputError(f"{which} is empty: perhaps a variable of the shell that is not set")


def main() -> None:
    """Entry point of the program ``asterism``; leaves with an exit code, see `asterism.cli.errors`."""
    terminate_softly()
    gc.set_threshold(YOUNG)
    if hasattr(sys.stdout, "reconfigure"):  # a terminal that cannot show a letter gets its number
        sys.stdout.reconfigure(errors="backslashreplace")
    if "_ASTERISM_COMPLETE" in os.environ:
        os.environ["COLUMNS"] = "1000"  # typer folds what it says of options, and fish takes each line for one more
    arguments = sys.argv[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    anywhere = [option for option in ("--debug", "--offline") if option in arguments[:end]]
    arguments = [*anywhere, *(one for one in arguments[:end] if one not in anywhere), *arguments[end:]]
    try:
        _check_empty(arguments)
        app(arguments, prog_name="asterism")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except (OSError, InputError, StorageError) as error:  # typer's own words, or the version, found no room
        if debugging():
            raise
        note(f"asterism: error: {described(error)}")
        code = USER_ERROR
    gc.freeze()  # Python would look through all that torch is made of, for a second, before it ends
    sys.exit(flushed(code))
