"""Calls to model providers: HTTP/1.1 on asyncio protocols and llhttp."""
