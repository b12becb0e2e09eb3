"""``asterism bench``: run a paper's table, keep every run as one line of ``benchmarks/results``, print ours beside theirs.

A run that is recorded is not run again; one that was killed goes on where it was. What is printed comes from the
recorded lines only.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from asterism.errors import InputError, MissingDataError, StorageError
from asterism.evaluation import printing, protocol
from asterism.evaluation.tables import TABLES, Entry, Table, find_tables
from asterism.methods import METHODS

DEFAULT_SEEDS = (0, 1, 2)
FILTERS = ("dataset", "method", "variant")

Row = dict[str, Any]
