"""Witnesses over HTTP (C2SP tlog-witness): the server, its memory, the client."""
