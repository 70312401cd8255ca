"""What a hyperparameter does: one changed at a time on a cheap task, and the pictures."""
