"""The door: connections and processes, and how they come to an end."""
