"""Commands that list and advise: ``methods``, ``backbones``, ``data``, ``suggest-k``."""

from __future__ import annotations

from typing import Annotated

from asterism.cli import arguments
from asterism.cli.arguments import Arg, Opt
from asterism.cli.text import aligned, say


def methods(name: Annotated[str | None, Arg(metavar="NAME", help="A method: list its parameters.")] = None) -> None:
    """List the methods, or the parameters of one."""
    from asterism.cli.describe import method_lines, parameter_lines

    say(method_lines() if name is None else parameter_lines(name))


def backbones(json: arguments.Json = False) -> None:
    """List the recommended pre-trained networks: cost, licence, and whether their weights are here."""
    from json import dumps

    from asterism.networks.recommended import MEASURED_ON, RECOMMENDED, stored_weights

    found = [(one, stored_weights(one.name) is not None) for one in RECOMMENDED]
    if json:
        say(dumps([{**one._asdict(), "here": here} for one, here in found]))
        return
    rows: list[list] = [["NAME", "MILLIONS", "MB", "S/1000", "LICENCE", "HERE", "GOOD FOR"]]
    for one, here in found:
        size, time = f"{one.parameters:.1f}".rjust(8), f"{one.seconds:.0f}".rjust(6)
        rows.append([one.name, size, one.megabytes, time, one.licence, "yes" if here else "no", one.good_for])
    say(aligned(rows))
    say(f"\nMILLIONS of parameters, MB to fetch, seconds for 1000 images on {MEASURED_ON}.")
    say("auto takes the first that is here. Any other of torchvision, timm, Hugging Face (hf:OWNER/NAME) or open_clip")
    say("(open_clip:MODEL/TAG): --set backbone.name=NAME")


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


def suggest_k(
    images: arguments.NewImages,
    k_max: Annotated[int | None, Opt("--k-max", help="Largest number of groups to try.")] = None,
    seed: Annotated[int, Opt(min=0, max=2**32 - 1, help="Same seed, same answer.")] = 0,
    size: arguments.Size = None,
    color: arguments.Color = None,
    no_crop: arguments.NoCrop = False,
    layout: arguments.Layout = None,
    scale: arguments.OwnScale = None,
    pages: arguments.Pages = None,
    bands: arguments.Bands = None,
    features: arguments.Features = None,
    strict: arguments.Strict = False,
    device: arguments.Device = "auto",
    json: arguments.Json = False,
) -> None:
    """Guess how many groups there are, and show how sure that is.

    Asks graphs of 5, 10, 20 and 40 neighbours, and on how many groups two halves of the images agree; where the
    answers differ, says between what.
    """
    asked = {name: value for name, value in locals().items() if name not in ("k_max", "json")}

    from json import dumps

    from asterism.cli.advising import advise, shown_advice
    from asterism.cli.request import Request

    found, on = advise(Request(**asked, quiet=json), k_max)
    if json:
        curves = {
            name: [round(float(one), 4) for one in getattr(found, name)]
            for name in ("modularity", "stability", "silhouette", "eigengap")
        }
        known = {"k": found.k, "low": found.low, "high": found.high, "features": on, "says": found.sentence}
        known["agreed"] = found.agreed
        known["answers"] = {str(size): k for size, k in found.answers.items()}
        say(dumps({**known, "ks": found.ks, **curves}))
        return
    say(shown_advice(found, on))
