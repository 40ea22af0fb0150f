"""OpenAI's tokenizers, from the Rust crate `bpe-openai` with its own vocabularies.

Its Python package prepares tables at import that take 0.6 s and 62 MiB and are not
needed to count, so the compiled module is loaded by itself: 0.07 s, 38 MiB of the
process's own and as much that all workers share, and only in a worker that asks.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final

ENCODINGS: Final = ("o200k_base", "cl100k_base")
_PACKAGE: Final = "bpe_openai"
_FILE: Final = "_bindings"
_MODULE: Final = f"{_PACKAGE}.{_FILE}"
_LOADING: Final = threading.Lock()


class OpenAITokenizers:
    """Loads each tokenizer in a thread when it is asked for first.

    Satisfies `engine.ports.TokenCounter`. Loading holds the interpreter for 60 ms,
    once in a worker's life; counting takes 2.4 ms for 100 kB of English.
    """

    def __init__(self) -> None:
        self._counters: dict[str, Callable[[str], int]] = {}
        self._begun: set[str] = set()

    def counter(self, encoding: str) -> Callable[[str], int] | None:
        """Counts a text's tokens; None: not loaded yet, or there is no such one."""
        found = self._counters.get(encoding)
        if found is None and encoding in ENCODINGS and encoding not in self._begun:
            self._begun.add(encoding)
            threading.Thread(target=self._load, args=(encoding,), daemon=True).start()
        return found

    def _load(self, encoding: str) -> None:
        with _LOADING:
            module = sys.modules.get(_MODULE) or _bindings()
        if module is not None:
            self._counters[encoding] = module.tokenizer_for_encoding(encoding).count


def _bindings() -> ModuleType | None:
    """The compiled module alone; None: it is not installed, so bytes have to do."""
    package = find_spec(_PACKAGE)
    for folder in (package.submodule_search_locations or ()) if package else ():
        for suffix in EXTENSION_SUFFIXES:
            path = Path(folder) / f"{_FILE}{suffix}"
            if path.exists():
                spec = spec_from_file_location(_MODULE, path)
                if spec is None or spec.loader is None:
                    return None
                module = module_from_spec(spec)
                spec.loader.exec_module(module)
                # It can be initialised once in a process.
                sys.modules[_MODULE] = module
                return module
    return None
