"""Facts to a decision; pure: no I/O, no clock, no globals."""
