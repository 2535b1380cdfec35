"""Datasets: a folder of labelled recordings as one table of clips. Imports of raytag the ground floor alone.

>>> from raytag import datasets                                # doctest: +SKIP
>>> table = datasets.load("data/fat2019")                      # doctest: +SKIP
>>> print(datasets.audit(table))                               # doctest: +SKIP
"""

from __future__ import annotations

from raytag.datasets.audit import Audit, audit
from raytag.datasets.corrections import Correction, Corrections, corrected_rows
from raytag.datasets.demo import make_demo
from raytag.datasets.loader import load
from raytag.datasets.table import SUBSETS, ClipTable, DatasetError

__all__ = [
    "SUBSETS",
    "Audit",
    "ClipTable",
    "Correction",
    "Corrections",
    "DatasetError",
    "audit",
    "corrected_rows",
    "load",
    "make_demo",
]
