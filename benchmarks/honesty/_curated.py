"""The first of ``noisy.py``'s experiments alone."""

from pathlib import Path

from raytag.space import load

EXPERIMENTS = [load(str(Path(__file__).with_name("_noisy.py"))).firsts[0]]
