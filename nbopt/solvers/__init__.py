"""Floor 3: minimize() and the engines behind it."""
