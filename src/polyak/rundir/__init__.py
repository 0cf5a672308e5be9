"""One run on disk: its directory, events, checkpoints, and what reads them."""
