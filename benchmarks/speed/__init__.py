"""How fast updates and whole runs are, beside sb3_contrib's TRPO, SB3's PPO and A2C."""
