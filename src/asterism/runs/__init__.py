"""A run's life: its folder, and the one owner of its state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asterism import lazy_names

if TYPE_CHECKING:
    from asterism.runs.folder import RunFolder, claim, is_labels, write_labels
    from asterism.runs.limit import limited
    from asterism.runs.record import RunRecord, agreed

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "folder": ("RunFolder", "claim", "is_labels", "write_labels"),
        "limit": ("limited",),
        "record": ("RunRecord", "agreed"),
    },
)
