"""Commands that other distributions add: looked for when a command line or a list of commands wants them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from asterism import plugins
from asterism.cli.errors import guarded
from asterism.errors import MissingDependencyError

OF_PAPERS = (
    "bench",
    *(f"transfer.{one}" for one in ("probe", "retrieval", "verify", "voc-classify", "voc-detect", "voc-segment")),
)


class Command(TyperCommand):
    """A command that tells what is too much of its arguments, and not all that a shell makes of a pattern."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """What is left of the arguments: nothing, but where the command takes any."""
        some, ctx.allow_extra_args = ctx.allow_extra_args, True
        rest = super().parse_args(ctx, args)
        if rest and not some and not ctx.resilient_parsing:
            more = f" and {len(rest) - 1} more" if rest[1:] else ""
            hint = "; a pattern stands in quotes, 'photos/*.jpg'" if os.path.isfile(rest[0]) else ""
            ctx.fail(f"Got unexpected extra argument {rest[0]!r}{more}{hint}")
        return rest


class Commands(TyperGroup):
    """A group of commands with those that other distributions add to it."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of all commands, the added ones last."""
        prefix = _prefix(ctx)
        more = [name.removeprefix(prefix) for name in plugins.added(plugins.COMMANDS) if name.startswith(prefix)]
        own = super().list_commands(ctx)
        return [*own, *(name for name in more if "." not in name and name not in own)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name: our own, an added one, or one that tells what to install."""
        name = _prefix(ctx) + cmd_name
        own = super().get_command(ctx, cmd_name)
        if own is None and name in plugins.added(plugins.COMMANDS):
            return _loaded(cmd_name, plugins.added(plugins.COMMANDS)[name])
        if own is None and name in OF_PAPERS:
            typed = name.replace(".", " ")
            where = plugins.without_papers() or f"{plugins.PAPERS}, which must be installed again"
            return _absent(cmd_name, f"asterism {typed} comes with {where}")
        return own


def _prefix(ctx: Any) -> str:
    """``""`` for the program's own commands, ``"transfer."`` below ``asterism transfer``."""
    return "" if ctx.parent is None else f"{ctx.info_name}."


def _loaded(name: str, place: str) -> Any:
    try:
        return _command(name, plugins.load(place))
    except MissingDependencyError as error:
        return _absent(name, str(error))
    except Exception as error:  # what typer says of a thing that is no function, or takes what it does not know
        return _absent(name, f"{place} cannot be used as a command: {error}")


def _absent(name: str, why: str) -> Any:
    def absent(ctx: typer.Context) -> None:
        raise MissingDependencyError(why)

    absent.__doc__ = f"{why}."
    return _command(name, absent, {"ignore_unknown_options": True, "allow_extra_args": True})


def _command(name: str, function: Callable[..., None], settings: dict[str, Any] | None = None) -> Any:
    alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    alone.command(name, cls=Command, context_settings=settings)(guarded(function))
    return typer.main.get_command(alone)
