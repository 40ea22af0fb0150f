"""Anchors: checkpoints in a place where the trail's operator cannot change them."""
