"""Score millions of texts in many files, on all cores or on many machines, with Ray Data:

    python bulk_predict.py --input titles/ --output scored/                     # CSV, TSV, JSONL, Parquet, TXT
    python bulk_predict.py --input "logs/2026-*/*.parquet" --output scored/ --model soft_int8 --column title
    python bulk_predict.py --input titles/ --output scored/ --resume            # after Ctrl-C, a kill or a power cut
    python bulk_predict.py --input s3://bucket/titles --output s3://bucket/scored --address ray://head:10001

The input is read in parts of --rows rows. Each part becomes one Parquet file in --output with the columns of the input,
and class and confidence beside them (what other tasks answer, as JSON); a row that cannot be used keeps its place with
an `error`. The file is called by a hash of rows, model and flags, and is there whole or not at all, so that --resume
does the rest only. _manifest.json says at the end what was done. Below some hundred thousand titles predict_fun.py is
simpler. Needs `pip install -r requirements-bulk.txt`.
"""

import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config import MODELS, PROJECT
from core.console import UserError, first_line, listed, parse, progress, require_one_or_more, run
from core.files import sha256
from core.model_files.find import find_model
from core.model_files.names import OPENVINO, ending
from core.model_files.onnx_model import usable_cores
from core.model_files.predictor import CHUNK
from core.tables.parts import NAMES, Wanted, file_key, read_parts
from core.tables.places import file_system, home, list_inputs, refuse_overlap
from core.tables.scoring import HALF, Reader, Scorer, settle, write_whole
from tasks import load

MANIFEST = "_manifest.json"  # what begins with _ is no part for those who read the folder
STORE_MB = 512  # of shared memory, for parts between reading and predicting
EXCLUDED = [".venv", ".git", "results", "reports", "tests", "save_models", "models_save", "*.safetensors", "*.parquet"]


@dataclass
class BulkConfig:
    """Knobs of bulk scoring."""

    input: str = "titles"
    """Folder, file or pattern in quotes; or an address that pyarrow reads, such as s3://bucket/folder."""
    output: str = "scored"
    """Folder for the Parquet files and _manifest.json; or such an address."""
    model: str | None = None
    """Name (soft_int8, …) or path of a model. None: NEWS_MODEL, else what save_models/default.json names."""
    column: tuple[str, ...] = ()
    """Column that holds the texts, or several to be joined; for questions that with the question and that with the
    passage. Not given: those of usual names."""
    join: str = " "
    """What stands between the texts of several columns."""
    top_k: int = 1
    """How many of the likeliest classes to give."""
    rows: int = 20 * CHUNK
    """Rows of a part; of a multiple of 1,024 each class is the one that predict_fun.py gives."""
    workers: int | None = None
    """Processes that predict, a core each. None: as many as the machine, or the cluster, has cores."""
    address: str | None = None
    """Of a Ray cluster, such as ray://head:10001 or auto. None: this machine alone."""
    resume: bool = False
    """Do what is missing in --output."""

    def __post_init__(self) -> None:
        require_one_or_more(self, "top_k", "rows", "workers")


class Run:
    """One run: what is to be read, by which model, and where to.

    Raises:
        UserError: the input is none, its columns are not known, or the output is not to be written to.
    """

    def __init__(self, config: BulkConfig) -> None:
        self.config, self.started = config, time.monotonic()
        self.fs, self.inputs = list_inputs(config.input)
        self.out, self.folder = file_system(config.output)
        refuse_overlap(config.input, config.output)
        self.model = find_model(config.model, MODELS)
        task, _ = load(self.model, "cpu", threads=1)
        self.wanted = Wanted(config.column, config.join, task.question.columns)
        self.sha256 = sha256(self.model)
        flags = [list(config.column), config.join, config.top_k, config.rows]
        self.what = json.dumps([self.sha256, flags, NAMES])
        self.places = [home(self.fs, self.inputs[0])]
        self.names = self.first_columns()
        self.done = self.look()

    def first_columns(self) -> list[str]:
        """The names of the columns of the first file that can be read."""
        faults = []
        for file in self.inputs:
            try:
                first = next(read_parts(self.fs, file, self.wanted, 1))
                return first.table.column_names
            except UserError as fault:
                faults.append(str(fault))
        raise UserError(f"no file of --input can be scored:{listed(faults)}")

    def look(self) -> frozenset[str]:
        """The names of the parts that are there; the output folder is made if need be."""
        from pyarrow.fs import FileSelector

        self.out.create_dir(self.folder, recursive=True)
        names = {info.base_name for info in self.out.get_file_info(FileSelector(self.folder))}
        parts = frozenset(name.removesuffix(".parquet") for name in names if name.endswith(".parquet"))
        before = self.read_manifest() if MANIFEST in names else None
        if parts and not self.config.resume:
            raise UserError(
                f"{self.config.output} holds {len(parts)} part(s) already: go on with --resume, or empty it"
            )
        if parts and (before or {}).get("what") != self.what:
            raise UserError(
                f"{self.config.output} was made by another model, version or flags: choose another --output"
            )
        if parts and before:
            self.places = sorted({*self.places, *before["inputs"]})
        for name in names:
            if name.startswith(HALF):
                self.out.delete_file(f"{self.folder}/{name}")
        return parts

    def read_manifest(self) -> dict[str, Any] | None:
        """What an earlier run has left; None where it is damaged."""
        with self.out.open_input_stream(f"{self.folder}/{MANIFEST}") as file:
            try:
                found = json.loads(file.read())
            except ValueError:
                return None
        return found if isinstance(found, dict) else None

    def write_manifest(self, told: dict[str, Any]) -> None:
        """Say what this run does, or did."""
        own = {"what": self.what, "model": self.model.as_posix(), "model_sha256": self.sha256}
        own |= {"inputs": self.places, **told}
        content = json.dumps(own, ensure_ascii=False, indent=2).encode("utf-8")
        write_whole(self.out, f"{self.folder}/{MANIFEST}", lambda file: file.write(content))

    def go(self) -> dict[str, Any]:
        """Score what is missing; returns the manifest."""
        workers = start(self.config)
        import ray

        self.write_manifest({"finished": False})
        files = {self.model.name: self.model.read_bytes()}
        if ending(self.model) == OPENVINO:
            files[self.model.with_suffix(".bin").name] = self.model.with_suffix(".bin").read_bytes()
        reader = Reader(self.fs, (self.wanted, self.config.rows), self.what, self.names, self.done)
        data = ray.data.from_items([file._asdict() for file in self.inputs], override_num_blocks=len(self.inputs))
        data = data.map_batches(
            lambda batch: reader(batch),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=0.1,
            compute=ray.data.TaskPoolStrategy(max(1, workers // 4)),
        ).map_batches(
            Scorer,
            fn_constructor_args=(ray.put(files), load, self.config.output, self.config.top_k, CHUNK),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=0.9,
            compute=ray.data.ActorPoolStrategy(size=workers),
        )
        sums, faults, first = dict.fromkeys(("read", "skipped", "rows", "errors"), 0), [], None
        nodes, parts = Counter[str](), set[str]()
        with progress(desc="scoring", unit="row", unit_scale=True) as bar:
            for told in data.iter_rows():
                sums = {name: count + told[name] for name, count in sums.items()}
                parts.update(told["parts"].split())
                if told["fault"]:
                    faults.append(told["fault"])
                    bar.write(f"error: {told['fault']}")
                if told["rows"]:
                    nodes[told["node"]] += told["rows"]
                    first = first or time.monotonic() - self.started
                bar.update(told["rows"])
        told = {"faults": faults, "workers": workers, "rows_by_node": dict(nodes)}
        return self.close(sums, parts, first, told)

    def close(self, sums: dict[str, int], parts: set[str], first: float | None, told: dict[str, Any]) -> dict[str, Any]:
        """Remove parts of rows that have changed, count what is there, and write the manifest.

        In a folder of several inputs nothing is removed: files of one name may be different ones.
        """
        changed = {file_key(file.name, self.what) for file in self.inputs if not told["faults"] and not self.places[1:]}
        there = settle(self.out, self.folder, parts, changed)
        seconds = time.monotonic() - self.started
        told |= {"finished": not told["faults"], "files": len(self.inputs), "rows_in": sums["read"], **there}
        told |= {"rows_of_this_run": sums["rows"], "errors_of_this_run": sums["errors"], "seconds": round(seconds, 1)}
        told |= {"seconds_to_first_part": first and round(first, 1), "rows_per_s": round(sums["rows"] / seconds, 1)}
        self.write_manifest(told)
        return told


def start(config: BulkConfig) -> int:
    """Start Ray on this machine, or reach a cluster; returns how many workers there are to be.

    Raises:
        UserError: Ray is not installed, or cannot be started or reached.
    """
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if config.address and (os.environ.get("RAY_AUTH_TOKEN") or (Path.home() / ".ray" / "auth_token").is_file()):
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # as `ray start` does, where there is one; read on import
    try:
        import ray
        import ray.data

        logging.getLogger("ray.data").setLevel(logging.ERROR)
    except ImportError as fault:
        raise UserError("bulk scoring needs Ray: `pip install -r requirements-bulk.txt`") from fault
    looks: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if config.address:
        looks |= {"address": config.address, "runtime_env": {"working_dir": str(PROJECT), "excludes": EXCLUDED}}
    else:
        cores = config.workers or usable_cores()
        looks |= {
            "address": "local",
            "num_cpus": cores,
            "include_dashboard": False,
            "object_store_memory": STORE_MB << 20,
        }
        looks["runtime_env"] = {"env_vars": {"PYTHONPATH": str(PROJECT)}}
    try:
        ray.init(**looks, ignore_reinit_error=True)
    except Exception as fault:  # of whatever stands in its way: a port, a version, an address
        where = config.address or "this machine"
        token = "; has this machine the cluster's ~/.ray/auth_token?" if config.address else ""
        raise UserError(f"Ray cannot be started on {where} ({first_line(fault)}){token}") from fault
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = 1  # byte: each part is handed on by itself, as soon as it is read
    return config.workers or max(1, int(ray.cluster_resources().get("CPU", 1)))


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(BulkConfig, argv, __doc__)
    job = Run(config)
    try:
        told = job.go()
    finally:
        stop()
    print(
        f"{told['rows_out']:,} of {told['rows_in']:,} rows in {told['parts']:,} parts of {config.output}; "
        f"this run: {told['rows_of_this_run']:,} rows, {told['errors_of_this_run']:,} of them unusable, "
        f"{told['seconds']:.0f} s, {told['rows_per_s']:,.0f} rows/s"
    )
    if others := told["other_parquet_files"]:
        print(f"{config.output} holds {others:,} more Parquet file(s), of other or earlier files: see docs/bulk.md")
    if told["faults"]:
        raise UserError(f"not all could be scored; mend these and run again with --resume:{listed(told['faults'])}")


def stop() -> None:
    """End what `start` has started."""
    if ray := sys.modules.get("ray"):
        ray.shutdown()


if __name__ == "__main__":
    run(main)
