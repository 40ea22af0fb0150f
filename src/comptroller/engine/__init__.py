"""The use cases: they orchestrate the core through ports."""
