"""The drivers: one folder per outside thing; they never import one another."""
