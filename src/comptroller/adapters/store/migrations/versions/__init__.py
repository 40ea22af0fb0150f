"""One file a step of the schema; `pre` steps run before the new code does."""
