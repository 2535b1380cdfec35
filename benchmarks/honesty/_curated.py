"""The first of ``noisy.py``'s experiments alone."""

from _noisy import EXPERIMENTS as ALL

EXPERIMENTS = ALL[:1]
