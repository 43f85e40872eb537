"""What decisions and their feedback teach: the store, and what is learned from it."""
