"""Learning curves and final scores of our TRPO beside its peers, made by one command."""
