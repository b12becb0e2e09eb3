"""``--method auto`` on the command line; what is chosen, and why, is `asterism.methods.choosing`'s."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from asterism.cli.request import DEFAULT_METHOD, Request
from asterism.cli.settings import apply_settings
from asterism.cli.text import note
from asterism.errors import InputError
from asterism.machine import launch
from asterism.methods.choosing import VECTORS, Choice, choose, network_of, suitable_precision
from asterism.methods.registry import find_method
from asterism.runs import RunFolder

AUTO = "auto"


def first_choice(request: Request) -> Choice:
    """What suits the images of a request; says that weights are fetched, if they are."""
    if request.features is not None or request.images is None:
        return VECTORS
    say = None if request.quiet or launch().rank else note
    how = {name: value for name, value in request.opening.items() if name not in ("size", "color", "crop", "layout")}
    return choose(
        request.images,
        request.color,
        request.layout,
        request.n_clusters,
        say=say,
        reading=how,
        network=network_of(request.settings),
    )


def settled(request: Request, first: Choice | None = None) -> Request:
    """The request with a method instead of ``auto``, and in ``chosen`` the line that says so.

    Where a run is resumed or copied, its own method stands. ``first`` is what `first_choice` said before the number of
    groups was known.

    Raises
    ------
    InputError
        If ``--set`` names what the chosen method does not have.
    """
    asked = request.method in (None, AUTO)
    has_own = request.resume and request.out is not None and RunFolder(request.out).exists
    if not asked or request.images is None or request.like is not None or has_own:
        return replace(request, method=None) if request.method == AUTO else request
    chosen = first_choice(request) if first is None else first.for_groups(request.n_clusters or 1)
    chosen = _with_parameters(chosen, request.settings)
    lines, precision = [request.chosen, chosen.line], request.precision
    if precision is None and not request.settings and (precision := suitable_precision(chosen)):
        lines[1] = replace(chosen, seconds=(chosen.seconds or 0) / 2).line
        lines.append(
            f"auto: --precision {precision}, about twice as fast on this processor; exactly with --precision 32-true"
        )
    text = "\n".join(filter(None, lines))
    settings = [*chosen.settings, *request.settings]
    return replace(request, method=chosen.method, settings=settings, precision=precision, chosen=text)


def _with_parameters(chosen: Choice, settings: Sequence[str]) -> Choice:
    """The choice, if its method has what ``--set`` names; else DBC, if that has."""
    try:
        _check_settings(chosen.method, f"{chosen.method}, which auto takes for these images,", settings)
    except InputError as error:
        try:
            _check_settings(DEFAULT_METHOD, DEFAULT_METHOD, settings)
        except InputError as of_default:  # small images are what DBC is for
            raise (error if chosen.small is None else of_default) from None
        return replace(chosen, method=DEFAULT_METHOD, settings=(), reason="--set names parameters of it", seconds=None)
    return chosen


def _check_settings(method: str, called: str, settings: Sequence[str]) -> None:
    apply_settings(find_method(method)(), settings, called)
