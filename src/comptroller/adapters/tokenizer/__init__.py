"""Tokenizers: exact counts of a prompt's tokens, offline."""

from comptroller.adapters.tokenizer.openai import OpenAITokenizers

__all__ = ["OpenAITokenizers"]
