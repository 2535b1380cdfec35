"""The fourth row of ``noisy.py``: ``--set`` says which noisy clips are trusted, and how often they are drawn."""

from pathlib import Path

from raytag.experiment import Experiment
from raytag.space import load

CURATED = load(str(Path(__file__).with_name("_noisy.py"))).firsts[0]
EXPERIMENTS = [Experiment.model_validate({**CURATED.fields(), "name": "trusted"})]
