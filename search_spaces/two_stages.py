"""A second stage that learns from a first one: its weights, and those noisy clips whose labels it ranks best.

The first stage is the base of ``specaug_mixup``, which trains on the curated clips alone. On each fold the second
begins with the weights that the first has on that very fold, and draws those noisy clips too that the first chooses
(docs/stages.md). Without noisy clips it goes on with the weights alone.
"""

from raytag.experiment import Experiment, Init, Input, Loss, Model, Optimizer, Pseudo, Sampling, Schedule, Training
from raytag.space import choice, loguniform, uniform

FIRST = Experiment(
    name="specaug_mixup",
    input=Input("LogMelImages", mix_prob=0.5),
    model=Model("AuxSkipAttention", base_size=16, dropout=0.2, last_fc=4),
    loss=Loss("OnlyNoisyLSoft", beta=0.7),
    optimizer=Optimizer("Adam", lr=3e-3),
    schedule=Schedule("OneCycle"),
    training=Training(epochs=30, batch_size=16, early_stopping=None, keep_epoch="last"),
)

BASE = Experiment(
    name="second_stage",
    input=FIRST.input,
    sampling=Sampling(noisy_prob=0.4),
    model=FIRST.model,
    loss=FIRST.loss,
    optimizer=Optimizer("Adam", lr=1.5e-3),
    schedule=FIRST.schedule,
    training=FIRST.training,
    init=Init("ParentWeights", parent=FIRST),
    pseudo=Pseudo("Top", parent=FIRST, share=0.5),
)

VARY = {
    "init.name": choice(["ParentWeights", "ParentWeights", "Fresh"]),
    "pseudo.share": choice([0.25, 0.5, 0.75]),
    "sampling.noisy_prob": uniform(0.2, 0.6),
    "optimizer.lr": loguniform(5e-4, 4e-3),
    "input.mix_prob": choice([0.3, 0.5, 0.7]),
}
