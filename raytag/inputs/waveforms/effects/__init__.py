"""What is done to a waveform in training: functions of float32 (samples,), full scale 1, that write into no input.

Random numbers come from the generator that is handed in; where a function takes none, its result is a function of
its arguments. Silence, a single sample and any sample rate give finite numbers.
"""
