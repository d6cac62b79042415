"""Knobs of the training loop, which every stage that trains has."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from core.console import UserError, flag, require_one_or_more
from core.training.watch import Watch


@dataclass
class LoopConfig:
    """Knobs of the training loop."""

    watch = Watch()  # who looks on; no knob

    config: Path | None = None
    """JSON or TOML file of knobs, as {"learning_rate": 1e-4, "num_epochs": 3}; flags win over it."""
    output: Path = Path("reports")
    """Folder for logs, reports and pictures."""

    num_epochs: int | None = None
    """Passes over the training data. None: 30 for up to 300 rows, 16 for 800, 8 for 3,000, 4 for 12,000, 2 for more."""
    learning_rate: float | None = None
    """Peak learning rate. None: what the encoder's finetune.json says, else 5e-5."""
    warmup_ratio: float = 0.1
    """Share of the steps in which the learning rate climbs to its peak."""
    weight_decay: float = 0.01
    """Decay of the weights, bias and LayerNorm excepted."""
    dropout: float | None = None
    """Share of the activations that training switches off. None: as the model has it, 0.1 in most BERTs."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    evals_per_epoch: int = 2
    """Evaluations on the dev data in an epoch, the one at its end included."""

    seed: int = 42
    """Seed of the shuffling, the new weights and dropout: on a CPU the same seed gives the same weights."""
    device: str = "auto"
    """auto (a GPU where there is one), cpu, cuda, cuda:1, mps."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the forward pass: auto takes bf16 where the hardware multiplies it natively."""
    gradient_accumulation: int = 1
    """Compute each batch in so many pieces: less memory, the same result."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: much less memory, about a third slower."""
    resume: bool = False
    """Go on with a run that was stopped or killed."""
    patience: int | None = None
    """Stop early after so many evaluations in a row without a better score on the dev data."""
    max_steps: int | None = None
    """Stop after so many steps, to try things out."""
    minutes: float | None = None
    """Train so many minutes in place of epochs, the learning rate following the clock; --resume may change it."""
    save_minutes: float = 5.0
    """Minutes between two saves of the state that --resume goes on from; at the end of an epoch 20 seconds suffice."""

    def plain(self) -> dict[str, Any]:
        """All knobs as plain values, to be kept with what they made."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    def __post_init__(self) -> None:
        require_one_or_more(self, "num_epochs", "evals_per_epoch", "gradient_accumulation", "patience", "max_steps")
        for name in ("learning_rate", "max_grad_norm", "save_minutes", "minutes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"{flag(name)} is {value}: it must be above 0")
        for name in ("warmup_ratio", "dropout"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise UserError(f"{flag(name)} is {value}: it must be at least 0 and below 1")
        if not 0 <= self.weight_decay < float("inf"):
            raise UserError(f"--weight-decay is {self.weight_decay}: it must be at least 0")


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.as_posix() if isinstance(value, Path) else value
