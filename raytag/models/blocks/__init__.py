"""Building blocks of the convolutional taggers, one kind a file.

Shapes are written (B, C, F, T): batch, channels, frequency, time. All blocks are free of parameters that depend
on F or T, so a network takes images of any size that survives its pooling.

Imports torch and nothing of raytag.
"""
