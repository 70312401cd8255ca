"""Measurements of speed and of learning, ours beside others."""
