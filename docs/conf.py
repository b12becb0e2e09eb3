"""The documentation site: ``make docs`` builds it, warnings are errors."""

from importlib.metadata import version as installed_version

project = "Asterism"
copyright = "the Asterism authors"
release = version = installed_version("asterism-clustering")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = "Asterism"
exclude_patterns = ["_build"]
myst_heading_anchors = 3

napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
autodoc_typehints = "none"  # the docstrings give types and shapes
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "inherited-members": False, "show-inheritance": True}
# scikit-learn writes these methods, and their texts name pages of its own site
_ROUTING = ("fit", "partial_fit", "predict", "predict_proba", "score", "transform")
autodoc_default_options["exclude-members"] = ", ".join(f"set_{name}_request" for name in _ROUTING)
nitpicky = False
suppress_warnings = ["myst.xref_missing"]  # links to files beside the site work in the repository


def _write_methods(app):
    """One ``autoclass`` for each method that is registered: a new one is in the reference at once."""
    from pathlib import Path

    from asterism.methods import METHODS

    lines = [f".. autoclass:: {cls.__module__}.{cls.__name__}" for cls in dict.fromkeys(METHODS.values())]
    path = Path(app.srcdir) / "reference_methods.rst.inc"
    text = "\n".join(lines) + "\n"
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)


def _skip_parameters(app, what, name, value, skip, options):
    """Parameters have a section of their own in the docstring of their class."""
    from asterism.parameters import Parameters

    stated = {field for cls in _below(Parameters) for field in cls.__dataclass_fields__}
    return True if name in stated and not callable(value) and not isinstance(value, property) else None


def _below(cls):
    for one in cls.__subclasses__():
        yield one
        yield from _below(one)


def setup(app):
    app.connect("autodoc-skip-member", _skip_parameters)
    app.connect("builder-inited", _write_methods)
