"""What ``stages.py`` compares: children of one first stage, and noisy clips that nobody chose."""

from raytag.experiment import Experiment, Init, Input, Loss, Model, Optimizer, Pseudo, Sampling, Schedule, Training

PARTS = {
    "input": Input("LogMelImages", mix_prob=0.5),
    "model": Model("AuxSkipAttention", base_size=8, dropout=0.2, last_fc=4),
    "loss": Loss("OnlyNoisyLSoft", beta=0.7),
    "optimizer": Optimizer("Adam", lr=3e-3),
    "schedule": Schedule("OneCycle"),
    "training": Training(epochs=16, batch_size=16, early_stopping=None, keep_epoch="last"),
}
NOISY = PARTS | {"sampling": Sampling(noisy_prob=0.4)}
FIRST = Experiment(name="first", **PARTS)


def top(reader: str = "same_fold") -> Pseudo:
    return Pseudo("Top", parent=FIRST, share=0.5, reader=reader)


EXPERIMENTS = [
    FIRST,
    Experiment(name="weights", init=Init("ParentWeights", parent=FIRST), **PARTS),
    Experiment(name="all_noisy", **NOISY),
    Experiment(name="top", pseudo=top(), **NOISY),
    Experiment(name="weights_top", init=Init("ParentWeights", parent=FIRST), pseudo=top(), **NOISY),
    Experiment(name="top_cross_fit", pseudo=top("cross_fit"), **NOISY),
    Experiment(name="top_leaky", pseudo=top("oof"), **NOISY),
]
