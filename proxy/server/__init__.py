"""The door: the connections of clients."""
