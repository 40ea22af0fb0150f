"""TLS for the gateway's clients."""

from __future__ import annotations

import ssl

from comptroller.core.errors import ConfigurationError


def tls_context(certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    """TLS for clients of the gateway; None: plain HTTP.

    Raises:
        ConfigurationError: the certificate or the key cannot be used.
    """
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:
        raise ConfigurationError(
            f"the certificate {certificate} with the key {key or 'in it'} cannot be"
            f" used: {error}"
        ) from error
    context.set_alpn_protocols(["http/1.1"])
    return context
