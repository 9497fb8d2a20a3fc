"""Floor 0: how a plain Python loop becomes machine code, and how arrays reach it."""
