"""What ``stages.py`` makes of ex4sperans' stages in small, each read without a leak and as they were published.

The fifth of the noisy clips that the curated clips' model ranks best, two fifths by the model after it, all of
them, and all again with predicted labels for those that are not among the two fifths.
"""

from raytag.experiment import (
    Experiment,
    Features,
    FrontEnd,
    Input,
    Loss,
    Model,
    Optimizer,
    Pseudo,
    Sampling,
    Schedule,
    Training,
)

COMMON = {
    "features": Features("Waveforms", trim_db=None),
    "input": Input("WholeWaveforms", max_seconds=4, chunks_prob=0.5, mix_prob=0.5, plain_share=0.1),
    "front_end": FrontEnd("MagnitudeMel", channels=2),
    "model": Model("TwoDimensionalCNN", base_size=8, dropout=0.5),
    "loss": Loss("LSEP"),
    "optimizer": Optimizer("Adam", lr=0.005, amsgrad=True),
    "schedule": Schedule("OneCycle"),
    "training": Training(epochs=12, batch_size=20, early_stopping=None, keep_epoch="last"),
}
NOISY = Sampling(epoch="pass", noisy_prob=1.0)
CURATED = Experiment(name="curated", sampling=Sampling(epoch="pass"), **COMMON)


def stages(reader: str, ending: str) -> list[Experiment]:
    def stage(name: str, rule: str, parent: Experiment, share: float) -> Experiment:
        pseudo = Pseudo(rule, parent=parent, share=share, reader=reader)
        return Experiment(name=name + ending, sampling=NOISY, pseudo=pseudo, **COMMON)

    fifth = stage("fifth", "Top", CURATED, 0.2)
    two_fifths = stage("two_fifths", "Top", fifth, 0.4)
    return [fifth, two_fifths, stage("rest", "Rest", two_fifths, 0.4)]


EXPERIMENTS = [
    CURATED,
    Experiment(name="all", sampling=NOISY, **COMMON),
    *stages("same_fold", ""),
    *stages("oof", "_leaky"),
]
