"""argus-freesound's random search over its first level: a plain network of four blocks, mixers, noisy clips, loss.

The ranges are the published ones; the base experiment lies in their middle. It was made for thousands of clips,
each experiment with up to 100 epochs of 32,768 draws, of the first fold alone: --only-folds 0 does so. For a few
hundred clips on a small machine:

    python launch.py --space argus_random_search --data recordings --set model.base_size=16 \\
        --set training.batch_size=16 --set sampling.samples_per_epoch=none --set optimizer.lr=3e-3 \\
        --set training.epochs=30
"""

from raytag.experiment import Experiment, Features, Input, Loss, Model, Optimizer, Sampling, Schedule, Training
from raytag.space import choice, uniform

BASE = Experiment(
    features=Features(pad_mode="reflect"),
    input=Input("LogMelImages", crop_frames=128, sigmoid_share=0.5),
    sampling=Sampling(samples_per_epoch=32768, noisy_prob=0.5),
    model=Model("SimpleKaggle", dropout=0.2),
    loss=Loss("OnlyNoisyLSoft", beta=0.5, noisy_weight=0.5, curated_weight=None),
    optimizer=Optimizer("Adam", lr=6e-4),
    schedule=Schedule("Plateau", patience=5, factor=0.65),
    training=Training(batch_size=128, epochs=100, early_stopping=20),
)

VARY = {
    "model.dropout": uniform(0.1, 0.3),
    "optimizer.lr": choice([1e-3, 6e-4, 3e-4]),
    "input.sigmoid_share": uniform(0.0, 1.0),  # the rest of the mixed samples are added
    "sampling.noisy_prob": uniform(0.0, 1.0),
    "loss.beta": uniform(0.2, 0.8),
    "loss.noisy_weight": uniform(0.3, 0.7),  # curated clips weigh the rest of 1
    "schedule.patience": choice([2, 3, 4, 5, 6, 7, 8, 9]),
    "schedule.factor": uniform(0.5, 0.8),
}
