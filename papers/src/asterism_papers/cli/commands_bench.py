"""``asterism bench``: the tables of the papers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from asterism.cli.errors import Interrupted
from asterism.cli.text import note, say
from asterism.errors import MissingDataError

Arg = typer.Argument
Opt = typer.Option
UNHEEDED = {  # options that change nothing of what these print
    "--list": ("--only", "--method", "--set"),
    "--cells": ("--only", "--seeds", "--method", "--set"),
    "--write": ("TABLE", "--only", "--seeds", "--method", "--set", "--json"),
}


def bench(
    tables: Annotated[list[str] | None, Arg(metavar="TABLE", help="dbc-4, jule-3 ... (see --list).")] = None,
    only: Annotated[
        list[str] | None, Opt(metavar="KEY=VALUE,...", help="Only these rows: dataset=usps,method=dbc.")
    ] = None,
    seeds: Annotated[str | None, Opt(help="0-2, or 0,1,5.  [default: 0-2; with --show all that are recorded]")] = None,
    method: Annotated[
        str | None, Opt(metavar="CLASS", help="Put a class of another library in: sklearn.cluster.Birch.")
    ] = None,
    settings: Annotated[
        list[str] | None, Opt("--set", metavar="NAME=VALUE", help="Of that class: threshold=0.1 ...")
    ] = None,
    show: Annotated[bool, Opt("--show", help="Print from the recorded rows, run nothing.")] = False,
    json: Annotated[bool, Opt("--json", help="Print the rows as JSON.")] = False,
    list_: Annotated[bool, Opt("--list", help="What is recorded and what the rest costs; of TABLE by set.")] = False,
    cells: Annotated[
        bool, Opt("--cells", help="Count the figures that reach the papers', are near, below, or never ran.")
    ] = False,
    write: Annotated[bool, Opt("--write", help="Make docs/results.md and the README's table from the rows.")] = False,
    out: Annotated[
        Path | None,
        Opt(help="Folder of the recorded rows.  [default: papers/results of the checkout around, else results]"),
    ] = None,
    device: Annotated[str, Opt(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    quiet: Annotated[bool, Opt("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Run and print the tables of the papers.

    Ours stands beside theirs. What is recorded already is not run again.
    """
    from json import dumps

    from asterism_papers.cli.selection import parse_only, parse_seeds
    from asterism_papers.evaluation import bench as benchmark
    from asterism_papers.evaluation.averages import compared
    from asterism_papers.evaluation.external_estimators import external_entry
    from asterism_papers.evaluation.printing import format_table
    from asterism_papers.evaluation.tables import find_tables

    _check_mode(
        {"--show": show, "--list": list_, "--cells": cells, "--write": write},
        {"TABLE": tables, "--only": only, "--seeds": seeds, "--method": method, "--set": settings, "--json": json},
    )
    if out is not None and (show or list_ or cells or write) and not out.is_dir():
        raise MissingDataError(f"there is no folder {out} of recorded rows; --out names it")
    chosen_seeds = None if seeds is None else parse_seeds(seeds)
    if list_:
        from asterism_papers.cli.status_text import status_text
        from asterism_papers.evaluation.status import list_tables

        listed = list_tables(tables or (), seeds=chosen_seeds or benchmark.DEFAULT_SEEDS, results_dir=out)
        say(dumps(listed) if json else status_text(listed, by_set=bool(tables)))
        return
    if cells:
        from asterism_papers.evaluation.cells import cells_text, count_cells

        counts = count_cells(tables or (), results_dir=out)
        say(dumps(counts) if json else cells_text(counts))
        return
    if write:
        from asterism_papers.evaluation.results import write_results

        for path in write_results(benchmark.default_results_dir() if out is None else out):
            note(str(path))
        return
    if not tables:
        raise typer.BadParameter("which tables? See: asterism bench --list", param_hint="TABLES")
    if settings and method is None:
        raise typer.BadParameter("belongs to --method CLASS; a table's own methods run as it says", param_hint="--set")
    chosen = parse_only(only or [])
    try:
        rows = benchmark.run_tables(
            tables,
            only=chosen,
            seeds=chosen_seeds,
            show=show,
            results_dir=out,
            external=() if method is None else [external_entry(method, settings or [])],
            device=device,
            verbose=0 if quiet else 1,
            echo=(lambda line: None) if quiet else note,
        )
    except KeyboardInterrupt as interrupt:
        raise Interrupted(f"{str(interrupt) or 'interrupted'}; the same command goes on where it was") from None
    if json:
        say(dumps(rows))
        return
    beside = compared(find_tables(tables), benchmark.default_results_dir() if out is None else out, chosen_seeds)
    say("\n\n".join(format_table(name, [*rows, *beside], chosen, seeds=chosen_seeds) for name in tables))


def _check_mode(modes: dict[str, bool], given: dict[str, Any]) -> None:
    """See that one thing is asked for, and nothing that it does not heed.

    Raises
    ------
    typer.BadParameter
    """
    asked = [name for name, wanted in modes.items() if wanted]
    if asked[1:]:
        raise typer.BadParameter("one of them at a time", param_hint=", ".join(asked))
    unheeded = [name for name, value in given.items() if value and name in UNHEEDED.get("".join(asked), ())]
    if unheeded:
        raise typer.BadParameter(f"{asked[0]} does not heed it; leave it out", param_hint=", ".join(unheeded))
