"""`write_report`: a run folder in, one self-contained page out."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup

from asterism.estimator.keeping import on_cards, shown_members
from asterism.files import expanded, write_text
from asterism.images import ImageSource
from asterism.images.changes import pixel_hashes
from asterism.report.agreement import confusion, mistakes
from asterism.report.curves import training
from asterism.report.fitted import FittedRun, open_run
from asterism.report.gallery import copies, gallery, outliers
from asterism.report.inside import components, filters, inside, reconstructions
from asterism.report.map import map_
from asterism.report.material import Material, gather
from asterism.report.merge_tree import merge_tree
from asterism.report.overview import headline, sizes
from asterism.report.reproduce import reproduce
from asterism.report.section import Section, counted, grouped, rounded
from asterism.runs.pictures import Kept, Stack, chosen_for_map, keep

# The page, from top to bottom. A method that has more to show adds its function here, beside it ID.html and, if it
# draws, ID*.js; on runs without its material the function returns None.
SECTIONS: list[Callable[[Material], Section | None]] = [
    *(sizes, map_, gallery, merge_tree),
    *(training, reconstructions, inside, components, filters),  # how they were learnt
    *(confusion, mistakes),  # beside known classes
    *(outliers, copies, reproduce),
]

HERE = files("asterism.report")  # perhaps in a zip file


def write_report(
    run: str | Path | FittedRun,
    images: ImageSource | str | Path | None = None,
    labels: np.ndarray | str | Path | None = None,
    label_names: Sequence[str] | None = None,
    *,
    path: str | Path | None = None,
) -> Path:
    """Write the page of a finished run.

    Parameters
    ----------
    run : path or FittedRun
        The run folder, or the run where it is open already.
    images : ImageSource or whatever `asterism.open_images` takes, optional
        The images that were clustered; by default they are opened again from where they came. If they have changed or
        are gone, the page has the map and the pictures that the run kept when it ended, and says so.
    labels : array of shape (N,), "folders" or path, optional
        Known classes, for scoring only: an array, the folders that the images lie in, or a CSV file ``path,label``. By
        default those that the run was told of, else the images' own.
    label_names : list of str, optional
        What the classes 0, 1, … are called; where it is given, the label −1 is that of an image whose class is not
        known.
    path : path, optional
        Where to write; ``RUN/report.html`` by default.

    Returns
    -------
    Path
        The page: one file that opens without a network.

    Raises
    ------
    MissingDataError, RunError
        If there is no run, or an unfinished or damaged one.
    InputError
        If the labels do not fit the images, or the run made no clusters.
    StorageError
        If the page cannot be written.

    Notes
    -----
    Cost: one feature pass over the images on the map (all up to 20 000, else 10 000 drawn at random), t-SNE of them
    (some seconds for 10 000 on one core), thumbnails. The same run gives the same page.
    """
    run = run if isinstance(run, FittedRun) else open_run(run)
    material, folder = gather(run, images, labels, label_names), run.folder.path
    sections = [section for make in SECTIONS if (section := make(material)) is not None]
    if material.kept is None or material.kept.points is None:
        _keep(folder, material, sections)
    target = folder / "report.html" if path is None else expanded(path)
    # what no encoding knows (half a surrogate pair in a class name, say) must not cost the page
    write_text(target, render(material, sections).encode("utf-8", "replace").decode("utf-8"))
    return target


def _keep(run: Path, material: Material, sections: list[Section]) -> None:
    """Keep map and pictures with the run: images may be changed, moved or deleted later."""
    if material.points is None:
        return
    if material.images is None and material.kept is not None:
        keep(run, replace(material.kept, points=material.points))
    if material.images is None or not material.are_own:
        return
    made = {one.id: one.sprites for one in sections}
    shown = chosen_for_map(material.n, material.seed)
    members = on_cards(shown_members(material.clusters, material.confidence, material.k))
    stacks = {
        name: Stack(indices, sprites)
        for name, indices in (("gallery", members), ("map", material.on_map))
        if indices is not None and (sprites := made.get(name)) is not None
    }
    fingerprint = str(material.content["images"]["fingerprint"])
    keep(run, Kept(fingerprint, shown, material.points, None, pixel_hashes(material.images), stacks))


@cache
def templates() -> jinja2.Environment:
    """Each is compiled once a process, which takes longer than all else of a page."""
    found = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (HERE / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"counted": counted, "grouped": grouped, "rounded": rounded}
    return found


def render(material: Material, sections: list[Section]) -> str:
    """The page as text. Everything that came from the user is escaped by the templates."""
    ours = sorted(path.name for path in HERE.iterdir() if path.name.endswith(".js"))
    drawn = (name for one in sections if one.data is not None for name in ours if name.startswith(one.id))
    scripts = ["base.js", *drawn, "start.js"]
    script = "\n" + "\n".join((HERE / name).read_text(encoding="utf-8") for name in scripts)
    # Only this very script may run: even markup that slipped through the escaping could not.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = templates().get_template("page.html")
    return page.render(
        head=headline(material),
        sections=sections,
        shared={  # what several scripts need: groups and classes with their colours
            "sizes": material.sizes.tolist(),
            "none": material.none,
            "colors": material.colors,
            "standsFor": material.stands_for.tolist(),
            "classNames": material.class_names,
            "classColors": material.class_colors,
        },
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
    )
