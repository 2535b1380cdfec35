"""A pool like the one of which ex4sperans, third place of Freesound Audio Tagging 2019, averaged eleven models.

About twenty were trained, one- and two-dimensional, with maxima and recurrent layers, on different parts of the
noisy clips and with different numbers; which eleven were averaged was never said. Here the pool is all models of
``ex4sperans_2d``, ``_1d``, ``_rnn`` and ``_noisy``; each other network on the clips and labels of the last
stages, which the two-dimensional one has chosen; and two more of the last stage, one that widens as the program
does by default. The best eleven by cross-validation, averaged:

    python launch.py --space ex4sperans_final --data recordings --n-folds 5 --stopping none
    python ensemble_search.py --size 11 --way subset --blend arithmetic

For a few hundred short clips on a small machine:

    python launch.py --space ex4sperans_final --data recordings --stopping none --set model.base_size=12 \\
        --set training.epochs=12 --set input.max_seconds=4

Without noisy clips eight are left.
"""

from raytag.experiment import Experiment
from raytag.space import load

CURATED = [e for name in ("2d", "1d", "rnn") for e in load(f"ex4sperans_{name}").firsts]
STAGES = load("ex4sperans_noisy").firsts
*_, BEST_5, REST = STAGES


def on_noisy(model: Experiment, stage: Experiment) -> Experiment:
    """A model that trains on the noisy clips of a stage, and on its labels for them."""
    own = {"name": f"{model.name}_{stage.name}", "sampling": stage.sampling, "pseudo": stage.pseudo}
    return Experiment.model_validate({**model.fields(), **own})


def rest(name: str, fields: dict[str, object]) -> Experiment:
    """The last stage with other numbers."""
    return REST.replace(fields).model_copy(update={"name": name})


EXPERIMENTS = [
    *CURATED,
    *STAGES,
    *(on_noisy(model, stage) for stage in (BEST_5, REST) for model in CURATED[2:]),
    rest("rest_8s", {"input.max_seconds": 8.0, "model.dropout": 0.5}),
    rest(
        "rest_wide", {"input.max_seconds": 10.0, "model.base_size": 64, "model.growth": 2.0, "model.first_read": 2}
    ),
]
