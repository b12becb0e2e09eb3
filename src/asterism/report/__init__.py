"""One self-contained HTML page a run: the map of its images, its groups, its training, and how to make it again.

``page`` writes it. ``fitted`` opens the run, ``material`` gathers what is known of it and its images. Each section is a
function of that, with a template ``ID.html`` and, if it draws, ``ID*.js``: ``overview`` (headline, sizes), ``map``,
``gallery`` (groups, outliers, copies), ``merge_tree``, ``curves`` (training), ``inside`` (networks), ``agreement``
(with known classes), ``reproduce``. ``section`` is what they give, and writes numbers; ``palette`` gives colours.
"""

from typing import TYPE_CHECKING

from asterism import lazy_names

if TYPE_CHECKING:
    from asterism.report.page import write_report

__getattr__, __all__ = lazy_names(__name__, {"page": ("write_report",)})
