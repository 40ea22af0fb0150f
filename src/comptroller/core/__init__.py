"""The rules: values in, decisions out; no I/O, clock, randomness or async."""
