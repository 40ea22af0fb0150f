"""A simulated provider: real wire formats of all three dialects, no key, no network.

`python -m comptroller.testing.provider --port 0` runs it as a process and prints its
address; `running_provider` does that for a test. It keeps its own books, so that a
test can compare ours with those of the one who bills.
"""

from comptroller.testing.provider.process import running_provider
from comptroller.testing.provider.server import ProviderSettings, SimulatedProvider

__all__ = ["ProviderSettings", "SimulatedProvider", "running_provider"]
