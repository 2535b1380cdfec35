"""The one-dimensional network of ex4sperans, third place of Freesound Audio Tagging 2019.

Every frequency is a channel of it. It reads transforms of 6 ms of waveforms of up to 15 s; otherwise it is trained
as ``augmented_2d`` of ``ex4sperans_2d``. For a few hundred short clips on a small machine:

    python launch.py --space ex4sperans_1d --data recordings --set model.base_size=24 --set training.epochs=12 \\
        --set input.max_seconds=4
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
    "front_end": FrontEnd("MagnitudeSTFT"),
    "sampling": Sampling(epoch="pass"),
    "loss": Loss("LSEP"),
    "optimizer": Optimizer("Adam", lr=0.005, amsgrad=True),
    "schedule": Schedule("OneCycle"),
    "training": Training(epochs=100, batch_size=20, early_stopping=None),
}

EXPERIMENTS = [
    Experiment(
        name="augmented_1d",
        input=Input("WholeWaveforms", chunks_prob=0.5, mix_prob=0.5, effects_prob=0.75, plain_share=0.1),
        model=Model("HierarchicalCNN", base_size=100, dropout=0.5),
        **COMMON,
    ),
]
