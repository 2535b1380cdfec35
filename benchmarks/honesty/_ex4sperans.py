"""What ``compared.py`` compares: ex4sperans' augmented network in small, and with one part of it replaced."""

from raytag.experiment import (
    Experiment,
    Features,
    FrontEnd,
    Input,
    Loss,
    Model,
    Optimizer,
    Sampling,
    Schedule,
    Training,
)

WHOLE = {
    "features": Features("Waveforms", trim_db=None),
    "input": Input(
        "WholeWaveforms", max_seconds=4, chunks_prob=0.5, mix_prob=0.5, effects_prob=0.75, plain_share=0.1
    ),
    "front_end": FrontEnd("MagnitudeMel", channels=2),
    "sampling": Sampling(epoch="pass"),
    "model": Model("TwoDimensionalCNN", base_size=12, dropout=0.5),
    "loss": Loss("LSEP"),
    "optimizer": Optimizer("Adam", lr=0.005, amsgrad=True),
    "schedule": Schedule("OneCycle"),
}
PLAIN = {"max_seconds": 4, "chunks_prob": 0.5, "plain_share": 0.1}
INSTEAD = {
    "whole": {},
    "bce": {"loss": Loss("BCE")},
    "no_effects": {"input": Input("WholeWaveforms", mix_prob=0.5, **PLAIN)},
    "no_channel": {"front_end": FrontEnd("MagnitudeMel", channels=1)},
}
EXPERIMENTS = [
    Experiment(
        name=name,
        training=Training(epochs=12, batch_size=20, early_stopping=None),
        **(WHOLE | instead),
    )
    for name, instead in INSTEAD.items()
]
