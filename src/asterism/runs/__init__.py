"""A run's life: its folder, and the one owner of its state."""

from asterism.runs.folder import RunFolder, claim, is_labels, write_labels
from asterism.runs.limit import limited
from asterism.runs.record import RunRecord, agreed

__all__ = ["RunFolder", "RunRecord", "agreed", "claim", "is_labels", "limited", "write_labels"]
