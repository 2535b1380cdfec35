"""argus-freesound's log-mel CNN with SpecAugment and mixup, searched around its published values.

The base experiment suits a few hundred clips on a small machine; it is always the first one drawn. For the
published scale (thousands of clips, GPUs) fix with --set: ``model.base_size=64 training.batch_size=128
sampling.samples_per_epoch=32768 schedule.name=plateau optimizer.lr=9e-4 training.early_stopping=18
training.keep_epoch=best training.epochs=700``.
"""

from raytag.experiment import (
    Augment,
    Experiment,
    Loss,
    Mixers,
    Model,
    Optimizer,
    Sampling,
    Schedule,
    Training,
)
from raytag.space import choice, loguniform, uniform

BASE = Experiment(
    augment=Augment(),  # argus-freesound's
    mixers=Mixers(prob=0.5),
    sampling=Sampling(noisy_prob=0.0),
    model=Model(name="AuxSkipAttention", base_size=16, dropout=0.2, last_fc=4),
    loss=Loss(name="OnlyNoisyLSoft", beta=0.7),
    optimizer=Optimizer(name="adam", lr=3e-3),
    schedule=Schedule(name="one_cycle"),
    training=Training(epochs=30, batch_size=16, early_stopping=None, keep_epoch="last"),
)

VARY = {
    # SpecAugment and crops
    "augment.specaugment_prob": uniform(0.2, 0.9),
    "augment.num_masks": choice([(1, 1), (1, 2), (1, 3)]),
    "augment.freq_mask_fraction": uniform(0.05, 0.3),
    "augment.time_mask_fraction": uniform(0.05, 0.35),
    "augment.resized_crop_prob": uniform(0.0, 0.6),
    # mixup
    "mixers.prob": uniform(0.2, 0.9),
    "mixers.sigmoid_share": uniform(0.2, 0.9),
    "mixers.add_max_alpha": uniform(0.2, 0.5),
    # training
    "sampling.noisy_prob": choice([0.0, 0.0, 0.1, 0.2]),
    "model.dropout": uniform(0.05, 0.5),
    "optimizer.lr": loguniform(1e-3, 8e-3),
    "training.batch_size": choice([16, 32]),
}
