"""From a bank of waveforms to crops of them, or to whole clips: float32 (samples,), full scale 1."""
