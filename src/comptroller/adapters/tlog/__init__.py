"""The trail on disk: a transparency log in C2SP tlog-tiles, and its proofs."""
