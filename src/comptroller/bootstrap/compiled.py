"""The compiled request path: which modules run as machine code, and which are stale.

mypyc compiles some modules in place, from the same sources (docs/adr/0007). Python
prefers what is compiled, so an edited source that is not compiled again would
silently not run.
"""

from __future__ import annotations

from pathlib import Path

import comptroller
from comptroller.core.errors import ConfigurationError

_PACKAGE = Path(comptroller.__file__).parent


def compiled_modules() -> list[Path]:
    """The sources that have a compiled twin."""
    twins = _PACKAGE.rglob("*.so")
    sources = (twin.with_name(twin.name.partition(".")[0] + ".py") for twin in twins)
    return sorted(source for source in sources if source.exists())


def refuse_stale() -> None:
    """Refuses to run code that is older than its source.

    Raises:
        ConfigurationError: a source was edited since it was compiled.
    """
    for source in compiled_modules():
        twins = source.parent.glob(f"{source.stem}.*.so")
        if any(twin.stat().st_mtime < source.stat().st_mtime for twin in twins):
            raise ConfigurationError(
                f"{source} was edited since it was compiled, and would not run:"
                " 'make setup' compiles it again, 'make pure' removes what is compiled"
            )
