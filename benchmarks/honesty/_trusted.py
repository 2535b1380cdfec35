"""The fourth row of ``noisy.py``: ``--set`` says which noisy clips are trusted, and how often they are drawn."""

from _noisy import RECIPE

from raytag.experiment import Experiment

EXPERIMENTS = [Experiment(name="trusted", **RECIPE)]
