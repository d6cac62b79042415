"""A trained model, whatever it runs on, ready to answer: what is the same for every task."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np

from core.console import OUT_OF_MEMORY, UserError, progress
from core.model_files import onnx_model, openvino_model
from core.model_files.facts import CLASSIFICATION, INPUTS, Facts
from core.model_files.finite import NotFinite, is_finite
from core.model_files.names import LIGHT, ONNX, OPENVINO, ending
from core.model_files.onnx_model import Run
from core.text.collate import collate, passes
from core.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from core.model_files.module import Build

BATCH = 128  # rows in a forward pass, at most
CHUNK = 1024  # items answered at a time where there are many


class Rows(NamedTuple):
    """Items as a model reads them; an item may take several rows (windows of a long text).

    Attributes:
        columns: by name of the input, the values of each row, `input_ids` among them; the attention mask is added.
        item_of_row: the index of the item that each row belongs to, in order.
        notes: what `Predictor.decode` needs to know of each row.
    """

    columns: Mapping[str, Sequence]
    item_of_row: Sequence[int]
    notes: Sequence[Any]


class Predictor:
    """A model file ready to answer; a task says in a subclass how its items become rows, and logits an answer.

    Args:
        facts: of the model.
        run: computes logits from the model's inputs.
        path: of the file; None for a model that has none yet.
    """

    task: ClassVar[str] = CLASSIFICATION
    builds: ClassVar[Mapping[str, "Build"]] = {}  # by type of architecture, the function that builds its module
    most_characters: ClassVar[float] = math.inf  # encoded at a time: where nothing is cut, memory grows with them

    def __init__(self, facts: Facts, run: Run, path: Path | None = None) -> None:
        self.facts, self.run, self.path = facts, run, path
        self.labels: list[str] = facts["labels"]
        self.temperature: float = facts.get("temperature", 1.0)
        self.name: str = facts["stage"]
        self.tokenizer = Tokenizer.from_facts(facts)
        self.batch_size = BATCH
        self._per_token = facts.get("per_token", False)
        self._inputs = facts.get("inputs", INPUTS)

    @classmethod
    def load(cls, path: Path | str, device: str = "auto", in_server: bool = False) -> Self:
        """Open a model file; weights, labels, vocabulary and sizes all come from it.

        Args:
            path: the file.
            device: as `--device`.
            in_server: whether other threads of the process need the cores too.

        Raises:
            UserError: the file is missing, damaged, foreign, of another task, or its parts do not fit together.
        """
        path = Path(path)

        def own(facts: Facts) -> type[Self]:
            cls.check_task(facts, path)  # before the weights are looked at: those of another task do not fit anything
            return cls

        facts, run = open_file(path, device, in_server, own)
        return cls.around(facts, run, path)

    @classmethod
    def check_task(cls, facts: Facts, path: Path) -> None:
        """Refuse a model of another task.

        Raises:
            UserError: it is one.
        """
        if (task := facts.get("task", CLASSIFICATION)) != cls.task:
            raise UserError(f"{path} is a model for {task}, not for {cls.task}: give a model of this task")

    @classmethod
    def around(cls, facts: Facts, run: Run, path: Path) -> Self:
        """The predictor of an opened file.

        Raises:
            UserError: the file is of another task, its facts are damaged, or it is no model (see `try_out`).
        """
        cls.check_task(facts, path)
        try:
            predictor = cls(facts, run, path)
        except (KeyError, TypeError, ValueError) as fault:
            raise UserError(f"{path} has a damaged vocabulary or labels: make the model again") from fault
        if ending(path) in LIGHT:  # of a checkpoint the weights have been looked at, which is faster
            try_out(path, facts, run)
        return predictor

    def encode(self, items: Sequence[Any]) -> Rows:
        """The rows of some items."""
        raise NotImplementedError

    def decode(self, item: Any, notes: Sequence[Any], logits: Sequence[np.ndarray]) -> Any:
        """The answer for an item.

        Args:
            item: what was asked.
            notes: what `encode` noted of each of its rows.
            logits: of each of its rows, (labels,) or (tokens, labels) float32, without padding.
        """
        raise NotImplementedError

    def choices(self, logits: np.ndarray) -> np.ndarray:
        """What the logits of a row choose, one number for each unit: by these two forms of a model are compared."""
        return logits.argmax(-1).ravel()

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Softmax over the last axis at the temperature that was fitted on the dev data when the model was made."""
        return softmax(logits, self.temperature)

    def predict(self, items: Sequence[Any], batch_size: int | None = None) -> list[Any]:
        """The answers for some items, in order; rows of like length share a forward pass (see `passes`)."""
        groups = grouped(items, self.most_characters)
        return [answer for group in groups for answer in self._predict(group, batch_size)]

    def _predict(self, items: Sequence[Any], batch_size: int | None) -> list[Any]:
        rows = self.encode(items)
        logits = self.logits(rows.columns, batch_size)
        if len(items) == 1:  # what a server answers most often
            return [self.decode(items[0], rows.notes, logits)]
        own: list[tuple[list[Any], list[np.ndarray]]] = [([], []) for _ in items]
        for item, note, values in zip(rows.item_of_row, rows.notes, logits, strict=True):
            own[item][0].append(note)
            own[item][1].append(values)
        return [self.decode(item, *its) for item, its in zip(items, own, strict=True)]

    def logits(self, columns: Mapping[str, Sequence], batch_size: int | None = None) -> list[np.ndarray]:
        """The logits of encoded rows, in order, without padding.

        Raises:
            NotFinite: one of them is NaN or infinite.
        """
        batch_size = batch_size or self.batch_size
        lengths = list(map(len, columns["input_ids"]))
        if len(lengths) == 1:
            found = self.run(self.collate(columns))
            if not is_finite(found):
                raise NotFinite(self.path)
            return list(found)
        logits: dict[int, np.ndarray] = {}
        for taken in passes(lengths, batch_size):
            found = self.run(self.collate({name: [values[row] for row in taken] for name, values in columns.items()}))
            for row, values in zip(taken, found, strict=True):
                logits[row] = values[: lengths[row]] if self._per_token else values
                if not is_finite(logits[row]):
                    raise NotFinite(self.path)
        return [logits[row] for row in range(len(lengths))]

    def collate(self, columns: Mapping[str, Sequence]) -> dict[str, np.ndarray]:
        """The arrays that the model computes from."""
        arrays = collate(columns, self.tokenizer.pads)
        try:
            return {name: arrays[name] for name in self._inputs}
        except KeyError as fault:
            raise UserError(
                f"{self.path or 'the model'} asks for {fault}, which its task does not give: make the model again"
            ) from fault


def grouped(items: Sequence[Any], most: float) -> Iterator[Sequence[Any]]:
    """Items, texts or tuples whose last text is the long one, in groups of so many characters at most, or of one."""
    start = size = 0
    for at, item in enumerate(items if most < math.inf else ()):
        own = len(item if isinstance(item, str) else item[-1])
        if at > start and size + own > most:
            yield items[start:at]
            start, size = at, 0
        size += own
    yield items[start:]


def softmax(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities over the last axis at a temperature, float64: the order of the classes is the logits'."""
    values = logits.astype(np.float64)
    shares = np.exp((values - values.max(axis=-1, keepdims=True)) / temperature)
    return shares / shares.sum(axis=-1, keepdims=True)


def predict_all(predictor: Predictor, items: Sequence[Any], description: str) -> list[Any]:
    """The answers for many items, in order, with a progress bar."""
    answers: list[Any] = []
    with progress(total=len(items), desc=description, unit="item", delay=1.0, leave=False) as bar:
        for start in range(0, len(items), CHUNK):
            answers += predictor.predict(items[start : start + CHUNK])
            bar.update(len(answers) - bar.n)
    return answers


def try_out(path: Path, facts: Facts, run: Run) -> None:
    """Refuse a file that does not give finite logits of the shape that its facts tell of, asked with two tokens.

    Raises:
        UserError: it does not.
    """
    ids = np.array([[0, len(facts["vocab"]) - 1]])
    arrays = {name: np.zeros_like(ids) for name in facts.get("inputs", INPUTS)}
    arrays |= {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    try:
        logits = run({name: arrays[name] for name in facts.get("inputs", INPUTS)})
        rows = logits.shape[: 2 if facts.get("per_token") else 1]
        fits = rows == ids.shape[: len(rows)] and logits.ndim > len(rows) and logits.shape[-1] == len(facts["labels"])
    except Exception as fault:  # the errors of runtimes have no base of their own
        if isinstance(fault, MemoryError) or any(words in str(fault) for words in OUT_OF_MEMORY):
            raise
        fits = False
    if not fits:
        raise UserError(f"{path} lacks facts about its model, or they do not fit it: make the model again")
    if not is_finite(logits):
        raise NotFinite(path)


def open_file(
    path: Path, device: str, in_server: bool, predictor_of: Callable[[Facts], type[Predictor]], threads: int = 0
) -> tuple[Facts, Run]:
    """Open a model file of any kind: its facts, and the function that computes logits.

    Args:
        path: the file.
        device: as `--device`.
        in_server: whether other threads of the process need the cores too.
        predictor_of: facts -> the class whose `builds` know the architecture of a checkpoint.
        threads: that compute; 0: as many as the runtime takes.

    Raises:
        UserError: the file is missing, damaged or foreign, or a package that it needs is not installed.
    """
    if ending(path) == ONNX:
        return onnx_model.load(path, device, in_server, threads)
    if ending(path) == OPENVINO:
        return openvino_model.load(path, device)
    try:
        from torch import set_num_threads

        from core.model_files import checkpoint
        from core.model_files.module import CPU, pick_device, restore_module, run_module
    except ImportError as fault:
        raise UserError(
            f"{path} needs {fault.name}: `pip install -r requirements.txt`, or use an ONNX model"
        ) from fault
    if threads:
        set_num_threads(threads)
    state_dict, facts = checkpoint.load(path)
    model = restore_module(path, state_dict, facts, predictor_of(facts).builds)
    # Integer kernels of this kind are the CPU's alone.
    return facts, run_module(model, CPU if facts["architecture"].get("quantization") else pick_device(device))
