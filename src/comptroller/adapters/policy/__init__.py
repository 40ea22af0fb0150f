"""Policy files: YAML and CEL in, policy sets or every problem with its place out."""
