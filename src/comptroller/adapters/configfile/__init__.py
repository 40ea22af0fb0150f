"""The configuration file: YAML in, a registry or every problem with its place out."""
