"""How far more environments and more processes go."""
