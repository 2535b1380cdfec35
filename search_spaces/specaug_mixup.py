"""argus-freesound's log-mel CNN with SpecAugment and mixup, searched around its published values.

The base experiment suits a few hundred clips on a small machine; it is always the first one drawn. For the
published scale (thousands of clips, GPUs) fix with --set: ``model.base_size=64 training.batch_size=128
sampling.samples_per_epoch=32768 schedule.name=Plateau optimizer.lr=9e-4 training.early_stopping=18
training.keep_epoch=best training.epochs=700``.
"""

from raytag.experiment import Experiment, Input, Loss, Model, Optimizer, Sampling, Schedule, Training
from raytag.space import choice, loguniform, uniform

BASE = Experiment(
    input=Input("LogMelImages", mix_prob=0.5),  # the rest is argus-freesound's
    sampling=Sampling(noisy_prob=0.0),
    model=Model("AuxSkipAttention", base_size=16, dropout=0.2, last_fc=4),
    loss=Loss("OnlyNoisyLSoft", beta=0.7),
    optimizer=Optimizer("Adam", lr=3e-3),
    schedule=Schedule("OneCycle"),
    training=Training(epochs=30, batch_size=16, early_stopping=None, keep_epoch="last"),
)

VARY = {
    # SpecAugment and crops
    "input.specaugment_prob": uniform(0.2, 0.9),
    "input.num_masks": choice([(1, 1), (1, 2), (1, 3)]),
    "input.freq_mask_fraction": uniform(0.05, 0.3),
    "input.time_mask_fraction": uniform(0.05, 0.35),
    "input.resized_crop_prob": uniform(0.0, 0.6),
    # mixup
    "input.mix_prob": uniform(0.2, 0.9),
    "input.sigmoid_share": uniform(0.2, 0.9),
    "input.add_max_alpha": uniform(0.2, 0.5),
    # training
    "sampling.noisy_prob": choice([0.0, 0.0, 0.1, 0.2]),
    "model.dropout": uniform(0.05, 0.5),
    "optimizer.lr": loguniform(1e-3, 8e-3),
    "training.batch_size": choice([16, 32]),
}
