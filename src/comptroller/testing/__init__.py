"""The fakes, shipped: they pass the same contract tests as the adapters."""
