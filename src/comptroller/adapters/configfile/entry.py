"""An entry: one mapping of the configuration file, with the keys that it may have."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Entry(BaseModel):
    """A mapping in which every unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
