"""What ``compared.py`` compares: argus-freesound's recipe in small, and without each of its hallmarks alone."""

from raytag.experiment import Experiment, Input, Loss, Model, Optimizer, Sampling, Schedule, Training

PLUGINS = ["_parts_off.py"]

WHOLE = {
    "input": Input("LogMelImages", mix_prob=0.5),
    "sampling": Sampling(noisy_prob=0.2),
    "model": Model("AuxSkipAttention", base_size=8, dropout=0.2, last_fc=4),
    "loss": Loss("OnlyNoisyLSoft", beta=0.7),
    "optimizer": Optimizer("Adam", lr=3e-3),
    "schedule": Schedule("OneCycle"),
}
OFF = {
    "whole": {},
    "no_attention": {"model": Model("NoAttention", base_size=8, dropout=0.2, last_fc=4)},
    "no_skips": {"model": Model("NoSkips", base_size=8, dropout=0.2, last_fc=4)},
    "no_auxiliary_heads": {"model": Model("SkipAttention", base_size=8, dropout=0.2, last_fc=4)},
    "no_mixers": {"input": Input("LogMelImages", mix_prob=0.0)},
    "no_resized_crop": {"input": Input("LogMelImages", mix_prob=0.5, resized_crop_prob=0.0)},
    "no_specaugment": {"input": Input("LogMelImages", mix_prob=0.5, specaugment_prob=0.0)},
    "no_lsoft": {"loss": Loss("OnlyNoisyLSoft", beta=1.0)},  # a cross-entropy of the same weights
}
EXPERIMENTS = [
    Experiment(
        name=name,
        training=Training(epochs=16, batch_size=16, early_stopping=None, keep_epoch="last"),
        **(WHOLE | off),
    )
    for name, off in OFF.items()
]
