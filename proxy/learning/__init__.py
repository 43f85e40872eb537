"""From rated requests to a policy, and the proof that it is worth having."""
