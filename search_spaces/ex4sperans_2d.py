"""The two-dimensional networks of ex4sperans, third place of Freesound Audio Tagging 2019: basic and augmented.

Whole waveforms of up to 15 s, spectrograms on the device with a channel that tells how high a band is, LSEP. Both
are as in its instructions, where an epoch is one pass over all clips. For a few hundred short clips on a small
machine:

    python launch.py --space ex4sperans_2d --data recordings --set model.base_size=12 --set training.epochs=12 \\
        --set input.max_seconds=4

docs/ex4sperans.md says what is as published and what is not.
"""

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

COMMON = {
    "features": Features("Waveforms", trim_db=None),
    "front_end": FrontEnd("MagnitudeMel", channels=2),
    "sampling": Sampling(epoch="pass"),
    "loss": Loss("LSEP"),
    "optimizer": Optimizer("Adam", lr=0.005, amsgrad=True),
    "schedule": Schedule("OneCycle"),
}

EXPERIMENTS = [
    Experiment(
        name="basic_2d",
        input=Input("WholeWaveforms", chunks_prob=0.5, plain_share=0.25),
        model=Model("TwoDimensionalCNN", base_size=50, dropout=0.0),
        training=Training(epochs=20, batch_size=20, early_stopping=None),
        **COMMON,
    ),
    Experiment(
        name="augmented_2d",
        input=Input("WholeWaveforms", chunks_prob=0.5, mix_prob=0.5, effects_prob=0.75, plain_share=0.1),
        model=Model("TwoDimensionalCNN", base_size=100, dropout=0.5),
        training=Training(epochs=100, batch_size=20, early_stopping=None),
        **COMMON,
    ),
]
