"""From a bank of log-mels to the images that a network trains on and predicts from.

`augmenter` pads, crops, stretches, masks and mixes training samples; `tiles` cuts plain images for validation and
prediction. An image is float32 (3, n_mels, crop_frames): log-mel in dB and its first and second delta along time,
all divided by 100. Nothing is imported here: the fields are read without kernels.
"""
