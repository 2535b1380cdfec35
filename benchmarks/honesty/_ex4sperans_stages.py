"""What ``stages.py`` makes of ex4sperans' stages in small, each read without a leak and as they were published.

The fifth of the noisy clips that the curated clips' model ranks best, two fifths by the model after it, all of
them, and all again with predicted labels for those that are not among the two fifths.
"""

from raytag.experiment import Experiment, Pseudo
from raytag.space import load

_, AUGMENTED = load("ex4sperans_2d").firsts
SMALL = {"model.base_size": 8, "training.epochs": 12, "training.keep_epoch": "last"}
SMALL |= {"input.max_seconds": 4.0, "input.effects_prob": 0.0}
CURATED = AUGMENTED.replace(SMALL).model_copy(update={"name": "curated"})
ALL = CURATED.replace({"sampling.noisy_prob": 1.0}).model_copy(update={"name": "all"})


def stages(reader: str, ending: str) -> list[Experiment]:
    def stage(name: str, rule: str, parent: Experiment, share: float) -> Experiment:
        pseudo = Pseudo(rule, parent=parent, share=share, reader=reader)
        return Experiment.model_validate({**ALL.fields(), "name": name + ending, "pseudo": pseudo})

    fifth = stage("fifth", "Top", CURATED, 0.2)
    two_fifths = stage("two_fifths", "Top", fifth, 0.4)
    return [fifth, two_fifths, stage("rest", "Rest", two_fifths, 0.4)]


EXPERIMENTS = [
    CURATED,
    ALL,
    *stages("same_fold", ""),
    *stages("oof", "_leaky"),
]
