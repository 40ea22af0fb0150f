"""The data plane: HTTP server protocol, routes, streaming."""
