"""Seeded simulation of the whole engine: many processes, one thread, no real time."""
