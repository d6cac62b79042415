"""How a stage trains, in words."""

import pytest

from core.training.device import Devices
from core.training.knobs import LoopConfig
from core.training.stage import schedule


@pytest.mark.parametrize(("number", "epochs"), [(1, "1 epoch, "), (2, "2 epochs, ")])
def test_epochs_are_counted(number: int, epochs: str):
    said = schedule(LoopConfig(num_epochs=number, learning_rate=1e-4), Devices())
    assert said.startswith(f"{epochs}peak learning rate 0.0001, ")
