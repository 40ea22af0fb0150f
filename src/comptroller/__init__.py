"""Comptroller: the AI gateway that can account for every request."""
