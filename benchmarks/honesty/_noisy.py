"""What ``noisy.py`` compares: no draw from the noisy clips, or a third of all, their labels believed or half."""

from raytag.experiment import Experiment, Input, Loss, Model, Optimizer, Sampling, Schedule, Training

RECIPE = {
    "input": Input("LogMelImages", mix_prob=0.0, specaugment_prob=0.0),
    "model": Model("AuxSkipAttention", base_size=8, dropout=0.2, last_fc=4),
    "optimizer": Optimizer("Adam", lr=3e-3),
    "schedule": Schedule("OneCycle"),
    "training": Training(epochs=16, batch_size=16, early_stopping=None, keep_epoch="last"),
}
NOISY = {"sampling": Sampling(noisy_prob=0.33)}
EXPERIMENTS = [
    Experiment(name="curated", **RECIPE),
    Experiment(name="cross_entropy", loss=Loss("OnlyNoisyLSoft", beta=1.0), **RECIPE, **NOISY),
    Experiment(name="lsoft", loss=Loss("OnlyNoisyLSoft", beta=0.7), **RECIPE, **NOISY),
]
