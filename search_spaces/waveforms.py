"""A plain convolutional network on crops of waveforms, whose spectrograms are computed on the device.

The cache holds samples, so windows and bands of the spectrogram vary at no cost. As in ``specaug_mixup`` the sizes
suit a few hundred clips on a small machine. To search it beside that one, in one launch and for one ensemble, write
a space with ``SPACES = [(1, "specaug_mixup"), (1, "waveforms")]``.
"""

from raytag.experiment import Experiment, Features, FrontEnd, Input, Loss, Model, Optimizer, Schedule, Training
from raytag.space import choice, loguniform, worth_varying

BASE = Experiment(
    name="waveforms",
    features=Features("Waveforms"),
    input=Input("WaveformCrops"),
    front_end=FrontEnd("Mel"),
    model=Model("PlainConv", base_size=16, dropout=0.2),
    loss=Loss("BCE"),
    optimizer=Optimizer("Adam", lr=3e-3),
    schedule=Schedule("OneCycle"),
    training=Training(epochs=30, batch_size=16, early_stopping=None, keep_epoch="last"),
)

VARY = worth_varying(BASE) | {  # mixup, level, blocks, dropout
    "front_end.name": choice(["Mel", "Mel", "STFT"]),
    "front_end.n_mels": choice([64, 96, 128]),
    "front_end.hop_length": choice([256, 512]),
    "optimizer.lr": loguniform(1e-3, 8e-3),
    "training.batch_size": choice([16, 32]),
}
