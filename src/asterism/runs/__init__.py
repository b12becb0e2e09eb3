"""A run's life: its folder (``folder``, ``content`` of run.json), the one owner of its state (``record``), and what it
keeps for its page (``pictures``). ``limit`` bounds the memory that loading a stranger's run may take.
"""

from typing import TYPE_CHECKING

from asterism import lazy_names

if TYPE_CHECKING:
    from asterism.runs.folder import RunFolder, claim, is_labels, write_labels
    from asterism.runs.limit import limited
    from asterism.runs.record import RunRecord, agreed, check_alike

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "folder": ("RunFolder", "claim", "is_labels", "write_labels"),
        "limit": ("limited",),
        "record": ("RunRecord", "agreed", "check_alike"),
    },
)
