"""A small space that every searcher can search."""

from __future__ import annotations

from raytag.experiment import Experiment, Model
from raytag.space import Branch, Space, choice, loguniform, uniform

VARY = {
    "model.dropout": uniform(0.0, 0.6),
    "optimizer.lr": loguniform(1e-4, 1e-2),
    "input.num_masks": choice([[1, 1], [1, 2], [1, 3]]),  # lists: an experiment holds tuples
    "training.batch_size": choice([16, 32, 32]),
}
BASE = Experiment(model=Model(dropout=0.2)).replace({"training.batch_size": 16})
SPACE = Space.of("small", "small.py", BASE, VARY)
_OTHER = BASE.replace({"model.name": "SkipAttention", "schedule.name": "OneCycle"})
#: Three of four draws are small's.
MIXTURE = Space(
    "mixture",
    "mixture.py",
    (BASE, _OTHER),
    (
        Branch(BASE, VARY, 3.0),
        Branch(_OTHER, {"schedule.warmup_share": uniform(0.1, 0.5), "model.dropout": uniform(0.0, 0.6)}, 1.0),
    ),
)
