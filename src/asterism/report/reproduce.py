"""How to make the run again: command, code, parameters, versions, machine, seed, fingerprint, and what was skipped."""

from __future__ import annotations

from typing import Any

from asterism.images.options import source_words
from asterism.methods import estimator_of
from asterism.parameters import Parameters, spelled
from asterism.report.material import Material
from asterism.report.section import Section, shortened, without_home

MOST_SKIPPED = 1000  # lines; more are counted
NOT_SHOWN = frozenset(("run_dir", "verbose", "random_state"))  # random_state is the seed, the others change nothing
NESTED_NOT_SHOWN = NOT_SHOWN | {"device", "precision"}  # a nested estimator computes where its owner does


def reproduce(material: Material) -> Section:
    """Everything that the numbers of the page depend on."""
    content = material.content
    images = content["images"]
    skipped = content.get("skipped") or []
    facts = {
        "seed": material.seed,
        "images": shortened(without_home(source_words(images.get("origin")))),
        "fingerprint of the images": images.get("fingerprint") or "not recorded",
        **content.get("hardware", {}),
    }
    values = {
        "command": without_home(content.get("command") or ""),
        "code": _code(material),
        "facts": facts,
        "parameters": flat_parameters(estimator_of(content)),
        "versions": content.get("versions", {}),
        "skipped": [[shortened(str(part)) for part in one] for one in skipped[:MOST_SKIPPED]],
        "n_skipped": len(skipped),
    }
    return Section("reproduce", "Make it again", values)


def flat_parameters(one: Parameters, path: str = "") -> list[tuple[str, str]]:
    """Names as ``--set`` spells them and values, defaults filled in."""
    hidden = NESTED_NOT_SHOWN if path else NOT_SHOWN
    found: list[tuple[str, str]] = []
    for name in one.get_params(deep=False):
        value = one.resolved(name)
        if name in hidden:
            continue
        if isinstance(value, Parameters):
            found.append((path + name, type(value).__name__))
            found += flat_parameters(value, f"{path}{name}.")
        else:
            found.append((path + name, "default" if value is None else str(value)))
    return found


def _code(material: Material) -> str:
    """A few lines of Python that fit the same estimator to the same images."""
    estimator = estimator_of(material.content)
    estimator.random_state = material.seed
    names = sorted({type(one).__name__ for one in _objects(estimator)})
    source, how = _opened(material.content["images"].get("origin") or {})
    lines = [f"estimator = {spelled(estimator, broken=True)}"]
    if how and source != "images":
        names.append("open_images")
        lines.insert(0, f"images = open_images({', '.join([source, *how])})")
        source = "images"
    told = [f"{name}={value}" for name, value in material.content.get("screening", {}).items()]
    lines.append(f"labels = estimator.fit({', '.join([source, *told])}).labels_")
    return f"from asterism import {', '.join(names)}\n\n" + "\n".join(lines)


def _opened(origin: dict[str, Any]) -> tuple[str, list[str]]:
    """What the images are called, and the options that open them as they were, both as Python spells them."""
    source = origin.get("source")
    how = {name: value for name, value in origin.items() if value is not None and name not in ("source", "white")}
    if how.get("crop") is True or "size" not in how:  # the default, and of vectors
        how.pop("crop", None)
    for name, value in how.items():
        how[name] = tuple(value) if isinstance(value, list) else without_home(value) if name == "features" else value
    called = repr(without_home(source)) if source and isinstance(source, str) else "images"
    return called, [f"{name}={value!r}" for name, value in how.items()]


def _objects(one: Parameters) -> list[Parameters]:
    """A parameter object and all that were nested in it on purpose."""
    nested = (value for value in one.get_params(deep=False).values() if isinstance(value, Parameters))
    return [one, *(deeper for value in nested for deeper in _objects(value))]
