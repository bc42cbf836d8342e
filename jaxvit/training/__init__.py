"""One trainer for every method: the Task type, its state, its step, the loop and the scores."""
