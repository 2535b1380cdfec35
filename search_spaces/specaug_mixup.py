"""argus-freesound's log-mel CNN with SpecAugment and mixup, searched around its published values.

The base experiment suits a few hundred clips on a small machine; it is always the first one drawn. For the
published scale (thousands of clips, GPUs) fix with --set: ``model.base_size=64 training.batch_size=128
sampling.samples_per_epoch=32768 schedule.name=Plateau optimizer.lr=9e-4 training.early_stopping=18
training.keep_epoch=best training.epochs=700``.
"""

from raytag.experiment import Experiment, Input, Loss, Model, Optimizer, Sampling, Schedule, Training
from raytag.space import choice, loguniform, worth_varying

BASE = Experiment(
    input=Input("LogMelImages", mix_prob=0.5),  # the rest is argus-freesound's
    sampling=Sampling(noisy_prob=0.0),
    model=Model("AuxSkipAttention", base_size=16, dropout=0.2, last_fc=4),
    loss=Loss("OnlyNoisyLSoft", beta=0.7),
    optimizer=Optimizer("Adam", lr=3e-3),
    schedule=Schedule("OneCycle"),
    training=Training(epochs=30, batch_size=16, early_stopping=None, keep_epoch="last"),
)

VARY = worth_varying(BASE) | {  # SpecAugment, crops, mixup, dropout
    "sampling.noisy_prob": choice([0.0, 0.0, 0.1, 0.2]),
    "optimizer.lr": loguniform(1e-3, 8e-3),
    "training.batch_size": choice([16, 32]),
}
