"""Commands that list: ``methods``, ``data``."""

from __future__ import annotations

from typing import Annotated

import typer

from asterism.cli.text import aligned, say

Arg = typer.Argument
Opt = typer.Option


def methods(name: Annotated[str | None, Arg(metavar="NAME", help="A method: list its parameters.")] = None) -> None:
    """List the methods, or the parameters of one."""
    from asterism.cli.describe import method_lines, parameter_lines

    say(method_lines() if name is None else parameter_lines(name))


def data() -> None:
    """List the named data sets (data:NAME)."""
    from asterism.images import named_sets

    rows: list[list] = [["NAME", "IMAGES", "CLASSES", "HERE", "WHAT"]]
    missing: dict[str, list[str]] = {}
    for one in named_sets():
        rows.append([f"data:{one.name}", one.n, one.k, one.here, one.description])
        if one.here == "no":
            missing.setdefault(one.how_to_get, []).append(one.name)
    say(aligned(rows))
    if missing:
        say("\n" + "\n".join(f"{', '.join(names)}: {how}" for how, names in missing.items()))
