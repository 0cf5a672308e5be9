"""Which weights ship: candidates, their table, the model file."""
