"""Reading the zip of a model without running anything that is in it."""
