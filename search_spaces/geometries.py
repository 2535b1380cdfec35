"""argus-freesound's network at three mel geometries, each searched as in ``specaug_mixup``.

Networks that see the same clip at other resolutions should err on other clips, which is what an ensemble needs. An
image of 256 frames is 4.0 s long at the first geometry and 3.0 s at the others.
"""

SPACES = [
    (1, "specaug_mixup", {"name": "mels128"}),  # 44.1 kHz, 58 ms every 15.6 ms
    (
        1,
        "specaug_mixup",
        {"name": "mels64", "features.n_mels": 64, "features.n_fft": 1024, "features.hop_length": 512},
    ),
    (
        1,
        "specaug_mixup",
        {
            "name": "mels96",
            "features.sample_rate": 22050,
            "features.fmax": 11025,
            "features.n_mels": 96,
            "features.n_fft": 2048,
            "features.hop_length": 256,
        },
    ),
]
