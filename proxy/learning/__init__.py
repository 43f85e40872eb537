"""What decisions and their feedback teach: the store, the training of a policy, and the proof of its worth."""
