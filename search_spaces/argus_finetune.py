"""argus-freesound's after-training: each fold goes on from the best weights of its first stage, by cosine restarts.

One child for each model of ``argus_winners``, which are trained first, fold by fold, where the run does not have
them yet; corrections files as there. Cosines of 10, 20, 40, 80 epochs, 150 epochs in all, with the published
sampling and mixing. ``--set`` reaches both stages, except what only one of them has. For a few hundred clips on a
small machine:

    python launch.py --space argus_finetune --data recordings --set model.base_size=16 \\
        --set training.batch_size=16 --set sampling.samples_per_epoch=none --set training.epochs=30
"""

from raytag.experiment import Experiment, Init, Optimizer, Schedule
from raytag.space import load

WINNERS = load("argus_winners")
NOTES = list(WINNERS.notes)


def child(parent: Experiment) -> Experiment:
    stage = {
        "name": f"{parent.name}_finetuned",
        "optimizer": Optimizer("Adam", lr=3e-4),
        "schedule": Schedule("CosineRestarts", first_epochs=10, times=2, min_lr=1e-5),
        "training": parent.training.model_copy(update={"epochs": 150, "early_stopping": None}),
        "init": Init("ParentWeights", parent=parent),
    }
    again = Experiment.model_validate({**parent.fields(), **stage})
    return again.replace({"input.mix_prob": 0.66, "sampling.noisy_prob": 0.33})


EXPERIMENTS = [child(winner) for winner in WINNERS.firsts]
