"""The machine: what a process, be it worker or centre, is given to run on."""

from __future__ import annotations

from typing import Protocol

from comptroller.testing.simulation.disk import Disk
from comptroller.testing.simulation.draw import Draw
from comptroller.testing.simulation.network import Network
from comptroller.testing.simulation.parts import Parts
from comptroller.testing.simulation.scene import Scene
from comptroller.testing.simulation.witness import Witness
from comptroller.testing.system import SequentialIds


class Machine(Scene, Protocol):
    """A scene with all that a process of it uses."""

    @property
    def parts(self) -> Parts:
        """What is simulated."""

    @property
    def ids(self) -> SequentialIds:
        """Unique ids."""

    @property
    def boot(self) -> str:
        """Of the machine."""

    @property
    def draw(self) -> Draw:
        """Chance."""

    @property
    def disk(self) -> Disk:
        """Where journals are."""

    @property
    def network(self) -> Network:
        """Where messages go."""

    @property
    def witness(self) -> Witness:
        """Who sees everything."""
