"""The store: what journals say, projected into SQLite (design.md §2)."""
