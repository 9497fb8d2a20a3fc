"""Is the library good? Measurements against its peers, written up as a report: ``python -m validation``."""
