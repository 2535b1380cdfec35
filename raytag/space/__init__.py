"""Search spaces: a named Python file that says which experiments are worth training.

A space is a file of values, one of

    BASE = Experiment(...)                                   # always the first experiment drawn
    VARY = {"optimizer.lr": loguniform(3e-4, 3e-3), ...}     # dotted field -> distribution

    EXPERIMENTS = [Experiment(...), ...]                     # a list

    SPACES = [                                               # a mixture: weights, and files or values
        (3, "specaug_mixup"),
        (1, "specaug_mixup", {"features.n_mels": 64}),       # a file with some fields fixed, or another name
        (1, BASE, VARY),
    ]

    PLUGINS = ["my_net.py"]                                  # beside any of them: files with parts of your own
    NOTES = ["It suits birds."]                              # and sentences that a launch says first

``VARY`` may vary a part's ``name`` too: a draw takes those of the other entries whose fields the drawn class has.
``worth_varying(experiment)`` gives the ranges that its parts themselves suggest. ``load("specaug_mixup")`` looks
for ``search_spaces/specaug_mixup.py`` in the current folder, then beside ``launch.py``; a path to a file works too.
"""

from __future__ import annotations

from raytag.space.distributions import Choice, Distribution, SpaceError, Uniform, choice, loguniform, plain, uniform
from raytag.space.files import available, load
from raytag.space.spaces import Branch, Space, worth_varying

__all__ = [
    "Branch",
    "Choice",
    "Distribution",
    "Space",
    "SpaceError",
    "Uniform",
    "available",
    "choice",
    "load",
    "loguniform",
    "plain",
    "uniform",
    "worth_varying",
]
