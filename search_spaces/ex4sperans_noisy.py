"""How ex4sperans, third place of Freesound Audio Tagging 2019, learned from noisy clips: stage after stage.

A first model learns from the curated clips. Each of the next ones adds the noisy clips whose given labels the one
before ranks best: 1,000 of 19,815, 2,000 and so on to 5,000, here as shares. The last one keeps these 5,000 with
their labels and takes what the fifth predicts for all others. For a few hundred short clips on a small machine:

    python launch.py --space ex4sperans_noisy --data recordings --set model.base_size=12 --set training.epochs=12 \\
        --set input.max_seconds=4

Each stage reads the models of its own fold, so no label of a fold reaches the model that is scored on it; from the
second on they have trained on clips that they choose from. ``--set pseudo.reader=oof``, the mean of all folds'
models, is the published practice, and leaky (docs/stages.md).
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
    "input": Input("WholeWaveforms", chunks_prob=0.5, mix_prob=0.5, effects_prob=0.75, plain_share=1 / 15),
    "front_end": FrontEnd("MagnitudeMel", channels=2),
    "model": Model("TwoDimensionalCNN", blocks=6, base_size=100, dropout=0.7),
    "loss": Loss("LSEP"),
    "optimizer": Optimizer("Adam", lr=0.005, amsgrad=True),
    "schedule": Schedule("OneCycle"),
    "training": Training(epochs=150, batch_size=20, early_stopping=None),
}
NOISY = Sampling(epoch="pass", noisy_prob=1.0)

CURATED = Experiment(name="curated", sampling=Sampling(epoch="pass"), **COMMON)
BEST_1 = Experiment(name="best_1", sampling=NOISY, pseudo=Pseudo("Top", parent=CURATED, share=0.05), **COMMON)
BEST_2 = Experiment(name="best_2", sampling=NOISY, pseudo=Pseudo("Top", parent=BEST_1, share=0.1), **COMMON)
BEST_3 = Experiment(name="best_3", sampling=NOISY, pseudo=Pseudo("Top", parent=BEST_2, share=0.15), **COMMON)
BEST_4 = Experiment(name="best_4", sampling=NOISY, pseudo=Pseudo("Top", parent=BEST_3, share=0.2), **COMMON)
BEST_5 = Experiment(name="best_5", sampling=NOISY, pseudo=Pseudo("Top", parent=BEST_4, share=0.25), **COMMON)
REST = Experiment(name="rest", sampling=NOISY, pseudo=Pseudo("Rest", parent=BEST_5, share=0.25), **COMMON)

EXPERIMENTS = [CURATED, BEST_1, BEST_2, BEST_3, BEST_4, BEST_5, REST]
