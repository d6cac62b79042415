"""A BERT in a Hugging Face folder: found, its config and its vocabulary read and checked."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.bert.distilbert import bert_keys
from core.bert.hub import ENCODERS, located, name_of, read_licence
from core.bert.shape import BERT_SIZES
from core.bert.sums import check_sums
from core.console import UserError
from core.files import sha256
from core.text.stub import describe_stub, refuse_stub
from core.text.tokenizer import Tokenizer, read_vocab

# Of each kind the first one that is there is read.
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
INDEX_FILES = tuple(f"{name}.index.json" for name in WEIGHT_FILES)  # of weights in several files
CONFIG_FILES = ("config.json", "bert_config.json")
VOCAB_FILES = ("vocab.txt", "tokenizer.json")
MODEL_FILES = (*WEIGHT_FILES, *INDEX_FILES, *CONFIG_FILES, *VOCAB_FILES, "tokenizer_config.json")
FETCH_COMMAND = "python download.py bert"
# Some encoders pad their embedding to a round number of rows; a difference beyond that is another vocabulary.
MAX_SPARE_EMBEDDINGS = 128
# The BERT to take in place of what is none: of like size, or like training.
INSTEAD = dict.fromkeys(("true RoBERTa", "xlm-roberta", "ernie"), "chinese-roberta-wwm-ext") | {"albert": "rbt4-h312"}
INSTEAD |= dict.fromkeys(("electra", "deberta", "deberta-v2"), "chinese-macbert-base")
# The keys of config.json that shape a BERT; how it is called, and by which library, is not the folder's business.
SIZES = (*BERT_SIZES, "vocab_size", "max_position_embeddings", "type_vocab_size")
MAX_SIZE = 10_000_000
FRACTIONS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range", "layer_norm_eps")
JSON_FAULTS = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
# Few rows take many passes, or there are too few updates to learn anything (Mosbach et al. 2021).
FINETUNE = {"learning_rate": 5e-5, "num_epochs": [[300, 30], [800, 16], [3000, 8], [12000, 4], [None, 2]]}


def find_bert(bert_path: Path, default: Path, bundled: Path) -> Path:
    """The folder to take the encoder from: `bert_path`, or the bundled BERT while the default folder is empty.

    Args:
        bert_path: a folder, or the name of an encoder that download.py has fetched.
        default: the folder that is meant where nobody names one.
        bundled: the folder of the bundled BERT.

    Raises:
        UserError: see `require_files`.
    """
    if bert_path == default and not any((bert_path / name).is_file() for name in MODEL_FILES):
        require_files(bundled)
        print(f"encoder: {bundled} (bundled), licence: {read_licence(bundled)}. ", end="")
        print(f"For the larger bert-base-chinese (400 MB): {FETCH_COMMAND}")
        return bundled
    folder = located(bert_path)
    require_files(folder)
    print(f"encoder: {folder}, licence: {read_licence(folder)}")
    return folder


def require_files(bert_path: Path) -> None:
    """Refuse a folder that is missing, lacks weights, config or vocabulary, or whose files are not what they were.

    Raises:
        UserError: it is one, or one of its files is a git-lfs pointer or a web page, or differs from its SHA256SUMS.
    """
    if not bert_path.exists():
        name = name_of(bert_path.as_posix())
        if name in ENCODERS or (name and not bert_path.parent.exists()):
            raise UserError(f"{bert_path} is neither a folder nor fetched yet: run `python download.py {name}`")
        raise UserError(
            f"{bert_path} lacks {' or '.join(WEIGHT_FILES)}: there is no such folder; check the path, or run: "
            f"{FETCH_COMMAND} (its --help names other encoders)"
        )
    if not bert_path.is_dir():
        raise UserError(f"{bert_path} is a file: give the folder that holds it with config.json and vocab.txt")
    _require(bert_path, WEIGHT_FILES, INDEX_FILES)
    _require(bert_path, CONFIG_FILES)
    read_bert_config(bert_path)  # of another kind of model the vocabulary has another name
    _require(bert_path, VOCAB_FILES)
    for path in find_shards(bert_path):
        refuse_weights_stub(path)
    refuse_stub(_first(bert_path, VOCAB_FILES))
    check_sums(bert_path)


def _require(folder: Path, names: Sequence[str], others: Sequence[str] = ()) -> None:
    """Refuse a folder that holds none of the files, nor of the others, which are for shards of weights."""
    if _first(folder, (*names, *others)).is_file():
        return
    lacking = " or ".join(names)
    if others and (shard := next(folder.glob("*-of-*"), None)):
        lacking = f"{others[shard.suffix == '.bin']}, which tells what {shard.name} and its like hold"
    elif others and (tensorflow := next((path for end in ("*.ckpt*", "*.h5") for path in folder.glob(end)), None)):
        lacking += f" ({tensorflow.name} is TensorFlow's)"
    raise UserError(f"{folder} lacks {lacking}: put it there, or run: {FETCH_COMMAND}")


def find_weights(folder: Path) -> Path:
    """The file with the weights in a folder that `find_bert` gave, or the index of its shards."""
    return _first(folder, (*WEIGHT_FILES, *INDEX_FILES))


def find_shards(folder: Path) -> list[Path]:
    """The files that hold the weights: one, or all those that the index names.

    Raises:
        UserError: the index is damaged, or a file that it names is missing.
    """
    index = find_weights(folder)
    if index.suffix != ".json":
        return [index]
    names = read_index(index)
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise UserError(f"{folder} lacks {' '.join(missing)}, which {index.name} names: put it there")
    return [folder / name for name in names]


def read_index(index: Path) -> list[str]:
    """The names of the files that an index of shards tells of.

    Raises:
        UserError: it is damaged, or none.
    """
    refuse_weights_stub(index)
    try:
        names = sorted(set(_read_json(index)["weight_map"].values()))
        if not names or any(Path(name).name != name for name in names):  # nothing outside the folder
            raise ValueError
    except JSON_FAULTS as fault:
        raise UserError(f"{index} is not the index of a BERT's shards: fetch it again") from fault
    return names


def refuse_weights_stub(path: Path) -> None:
    """Refuse weights that are a git-lfs pointer or a web page."""
    if stub := describe_stub(path):
        raise UserError(
            f"the weights in {path.parent} cannot be read ({path.name} is {stub}, not the file itself): fetch them "
            "again, by `git lfs pull` or their download link"
        )


def fingerprint(folder: Path) -> str:
    """A SHA-256 over all that makes the BERT of a folder: config, vocabulary and weights, of shards all of them."""
    paths = (_first(folder, CONFIG_FILES), _first(folder, VOCAB_FILES), *find_shards(folder))
    return hashlib.sha256(" ".join(map(sha256, paths)).encode()).hexdigest()


def read_bert_config(folder: Path) -> dict[str, Any]:
    """What `config.json` says of the shape of a BERT; its other keys, which belong to libraries and heads, stay there.

    Raises:
        UserError: it is damaged, of another model, or gives what no BERT has.
    """
    path = _first(folder, CONFIG_FILES)
    refuse_stub(path)
    try:
        config = _read_json(path)
        model_type = config.get("model_type", "bert")
        if model_type == "roberta" and 1 in (config.get("type_vocab_size"), config.get("pad_token_id")):
            raise not_a_bert(folder, "true RoBERTa")  # which counts its positions from 2
        if model_type not in ("bert", "roberta", "distilbert"):  # some a BERT is called roberta: see read_pretrained
            raise not_a_bert(folder, model_type)
        if model_type == "distilbert":
            config = bert_keys(config)
        bert_config = {key: config[key] for key in ("vocab_size", "max_position_embeddings")}
    except JSON_FAULTS as fault:
        raise UserError(f"{path} is not the config.json of a BERT: fetch it again") from fault
    bert_config |= {key: config[key] for key in (*SIZES, *FRACTIONS, "hidden_act") if config.get(key) is not None}
    if "pad_token_id" in config:
        bert_config["pad_token_id"] = config["pad_token_id"]
    wrong = next((key for key, value in bert_config.items() if not _fits(key, value, bert_config)), None)
    if config.get("position_embedding_type", "absolute") not in ("absolute", None):
        wrong = "position_embedding_type"
    if wrong:
        raise UserError(
            f"{path} says {wrong} {json.dumps(config[wrong])[:80]}, which no BERT has: fetch it again, or take another"
        )
    hidden_size, heads = ((BERT_SIZES | bert_config)[key] for key in ("hidden_size", "num_attention_heads"))
    if hidden_size % heads:
        raise UserError(f"{path} divides a hidden_size of {hidden_size} among {heads} attention heads: fetch it again")
    return bert_config


def read_model_type(folder: Path) -> str:
    """What `config.json` calls its model; `read_bert_config` has accepted it."""
    return _read_json(_first(folder, CONFIG_FILES)).get("model_type", "bert")


def _fits(key: str, value: Any, bert_config: dict[str, Any]) -> bool:
    """Whether a BERT can have this under a key of `config.json`."""
    if key in SIZES:
        return type(value) is int and 1 <= value <= MAX_SIZE
    if key in FRACTIONS:
        return type(value) in (int, float) and 0 <= value <= 1
    if key == "pad_token_id":
        return value is None or (type(value) is int and 0 <= value < bert_config["vocab_size"])
    from transformers.activations import ACT2FN

    return isinstance(value, str) and value in ACT2FN


def not_a_bert(folder: Path, model: Any) -> UserError:
    """The fault of a folder with a model of another kind."""
    instead = INSTEAD.get(str(model), "bert-base-chinese")
    return UserError(
        f"{folder} holds a {model} model: only BERT encoders are supported (DistilBERT among them); take {instead} in "
        f"its place: python download.py {instead}"
    )


def read_tokenizer(folder: Path, max_length: int, truncation: str = "end") -> Tokenizer:
    """The tokenizer of a BERT folder, its vocabulary checked against the rows of the embedding.

    Raises:
        UserError: the vocabulary belongs to another model, or the model has fewer positions than `max_length`.
    """
    bert_config = read_bert_config(folder)
    path = _first(folder, VOCAB_FILES)
    vocab = read_vocab(path)
    rows, positions = bert_config["vocab_size"], bert_config["max_position_embeddings"]
    if not 0 <= rows - len(vocab) < MAX_SPARE_EMBEDDINGS:
        raise UserError(
            f"{folder}: {path.name} has {len(vocab)} tokens, the embedding {rows} rows; they belong to different "
            f"models: take {path.name}, config.json and the weights from the same one"
        )
    if max_length > positions:
        raise UserError(f"--max-length {max_length} is more than the {positions} positions of {folder}: lower it")
    return Tokenizer(vocab, max_length, truncation)


def read_finetune(folder: Path) -> dict[str, Any]:
    """For how long and how fast an encoder is trained: FINETUNE, but for what `finetune.json` beside its weights says.

    That is `{"learning_rate": 4e-4, "num_epochs": [[2000, 12], [null, 3]]}` or one of the two; each pair is (up to so
    many rows, epochs).
    """
    path = folder / "finetune.json"
    try:
        return FINETUNE | (_read_json(path) if path.is_file() else {})
    except JSON_FAULTS as fault:
        raise UserError(f"{path} is damaged: mend it or delete it") from fault


def finetune_defaults(folder: Path, rows: int) -> tuple[int, float]:
    """The epochs and peak learning rate that suit an encoder and a number of training rows."""
    defaults = read_finetune(folder)
    try:
        epochs = next(epochs for up_to, epochs in defaults["num_epochs"] if up_to is None or rows <= up_to)
        return int(epochs), float(defaults["learning_rate"])
    except (ValueError, TypeError, StopIteration) as fault:
        raise UserError(f"{folder / 'finetune.json'} is damaged: mend it or delete it") from fault


def _first(folder: Path, names: Sequence[str]) -> Path:
    """The first of some files that a folder holds, or else where it would be."""
    return next((folder / name for name in names if (folder / name).is_file()), folder / names[0])


def _read_json(path: Path) -> Any:
    return json.loads(path.read_bytes())  # in UTF-8 with or without BOM, or UTF-16
