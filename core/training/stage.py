"""The run of a stage: under its lock and on its device, unless it has ended; and how it trains, in words."""

from collections.abc import Callable
from pathlib import Path

from core.training.device import Devices
from core.training.knobs import LoopConfig
from core.training.resume import RunState, has_finished


def run_stage(
    config: LoopConfig, artefact: Path, report: str, work: Callable[[RunState, Devices], None], alone: bool = True
) -> None:
    """Do the work of a stage that makes a file; nothing, where `config.resume` finds it done.

    Args:
        config: of the stage.
        artefact: the file.
        report: name of the folder in `config.output` that the log goes to.
        work: takes the state of the run and the devices.
        alone: whether the stage does its job in one process, whatever a launcher started.

    Raises:
        UserError: another run is at it, or the device is none.
    """
    if config.resume and has_finished(artefact):
        return
    devices = (Devices.alone if alone else Devices.find)(config.device, config.precision)
    run_state = RunState(artefact)
    with run_state.claim(config.output / report, devices.is_main):
        work(run_state, devices)


def schedule(config: LoopConfig, devices: Devices) -> str:
    """How a stage trains, for people: its epochs and its peak learning rate, which it has settled, and the devices."""
    epochs = "1 epoch" if config.num_epochs == 1 else f"{config.num_epochs} epochs"
    return f"{epochs}, peak learning rate {config.learning_rate:g}, {devices}"
