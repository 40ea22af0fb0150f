"""Policy: what may be asked, decided before a request reaches a model."""
