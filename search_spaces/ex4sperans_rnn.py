"""The networks of ex4sperans, third place of Freesound Audio Tagging 2019, with recurrent layers instead of maxima.

A recurrent layer reads each block's features in time, so the order of a clip's parts is left as it is; otherwise
they are trained as ``augmented_2d`` of ``ex4sperans_2d``. For a few hundred short clips on a small machine:

    python launch.py --space ex4sperans_rnn --data recordings --set model.base_size=12 --set training.epochs=12 \\
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
    "input": Input("WholeWaveforms", mix_prob=0.5, effects_prob=0.75, plain_share=0.1),
    "sampling": Sampling(epoch="pass"),
    "loss": Loss("LSEP"),
    "optimizer": Optimizer("Adam", lr=0.005, amsgrad=True),
    "schedule": Schedule("OneCycle"),
    "training": Training(epochs=100, batch_size=20, early_stopping=None),
}

EXPERIMENTS = [
    Experiment(
        name="rnn_2d",
        front_end=FrontEnd("MagnitudeMel", channels=2),
        model=Model("TwoDimensionalCNN", base_size=50, aggregation="rnn", dropout=0.5),
        **COMMON,
    ),
    Experiment(
        name="rnn_1d",
        front_end=FrontEnd("MagnitudeSTFT"),
        model=Model("HierarchicalCNN", base_size=100, aggregation="rnn", dropout=0.5),
        **COMMON,
    ),
]
