"""One self-contained HTML page a run: the map of its images, its groups, its training, and how to make it again."""

from asterism.report.page import write_report

__all__ = ["write_report"]
