"""Training of one experiment on one fold: plain torch, which knows nothing of Ray."""
