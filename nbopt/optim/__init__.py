"""Floor 2: optimizers as objects, one file per algorithm."""
