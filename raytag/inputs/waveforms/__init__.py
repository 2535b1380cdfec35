"""From a bank of waveforms to crops of them: float32 (samples,), full scale 1."""
