"""What ``compared.py`` compares: ex4sperans' augmented network in small, and with one part of it replaced."""

from raytag.space import load

_, AUGMENTED = load("ex4sperans_2d").firsts
WHOLE = AUGMENTED.replace({"model.base_size": 12, "training.epochs": 12, "input.max_seconds": 4.0})
INSTEAD = {
    "whole": {},
    "bce": {"loss.name": "BCE"},
    "no_effects": {"input.effects_prob": 0.0},
    "no_channel": {"front_end.channels": 1},
}
EXPERIMENTS = [WHOLE.replace(fields).model_copy(update={"name": name}) for name, fields in INSTEAD.items()]
