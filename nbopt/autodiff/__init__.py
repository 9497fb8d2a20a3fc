"""Floor 0: derivatives of functions that give none."""
