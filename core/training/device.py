"""Devices of a run, one or many, their arithmetic, and the machine of a measurement.

Started plainly, a script is the only process. Started by `torchrun` or `accelerate launch`, train.py is one of several
that do the same job; `Devices` tells each its place, which Hugging Face accelerate finds out, and lets them agree.
"""

import ctypes
import os
import platform
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.console import UserError
from core.model_files.module import CPU, pick_device

X86_FLAGS = ("avx2", "avx512_f", "avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16")
CPU_FLAGS = (*X86_FLAGS, "neon", "dot", "i8mm", "bf16", "sve")  # the others are of ARM
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Devices:
    """The device of this process, its place among `world` processes, and the arithmetic of its forward passes."""

    device: torch.device = CPU
    dtype: torch.dtype = torch.float32
    rank: int = 0
    world: int = 1

    @classmethod
    def find(cls, device: str, precision: str) -> "Devices":
        """Join the other processes, if there are any.

        Args:
            device: auto, or a name that torch knows; among several processes each on a GPU has its own.
            precision: fp32, bf16, fp16, or auto: bf16 where the hardware multiplies it natively.

        Raises:
            UserError: the device is not there, or cannot do the precision.
        """
        keep_freed_memory()
        rank, world, target = 0, int(os.environ.get("WORLD_SIZE", "1")), pick_device(device)
        if world > 1:
            from accelerate import PartialState

            state = PartialState(cpu=target.type == "cpu")
            rank, world, target = state.process_index, state.num_processes, state.device
            if rank:
                sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - one process speaks for all
        if precision == "auto":
            precision = "bf16" if has_native_bf16(target) else "fp32"
        if precision == "fp16" and target.type == "cpu":
            raise UserError("--precision fp16 needs a GPU: take bf16 or fp32 on the CPU")
        return cls(target, PRECISIONS[precision], rank, world)

    @classmethod
    def alone(cls, device: str, precision: str) -> "Devices":
        """As `find`, for a stage that does its job in one process.

        Raises:
            UserError: as `find`, or a launcher started several.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise UserError("torchrun and accelerate launch are for train.py: start this script with python alone")
        return cls.find(device, precision)

    def __str__(self) -> str:
        many = f"{self.world} processes, each " if self.world > 1 else ""
        return f"{many}on {self.device} in {str(self.dtype).removeprefix('torch.')}"

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[Any]:
        """The context for forward passes."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)

    def parallel(self, model: nn.Module) -> nn.Module:
        """The model as it is, or wrapped so that gradients are averaged over the processes."""
        if self.world == 1:
            return model
        return nn.parallel.DistributedDataParallel(
            model, device_ids=None if self.device.type == "cpu" else [self.device]
        )

    def no_sync(self, model: nn.Module) -> AbstractContextManager[Any]:
        """The context for backward passes that are not the last of a step."""
        return nullcontext() if self.world == 1 else model.no_sync()

    def gather(self, value: Any) -> list[Any]:
        """The value of each process, in the order of their ranks."""
        if self.world == 1:
            return [value]
        values = [None] * self.world
        torch.distributed.all_gather_object(values, value)
        return values

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; all get the same answer."""
        if self.world == 1:
            return flag
        answer = torch.tensor(float(flag), device=self.device)
        torch.distributed.all_reduce(answer, torch.distributed.ReduceOp.MAX)
        return bool(answer.item())

    def leave(self) -> None:
        """Part from the other processes once the job is done."""
        if self.world > 1:
            torch.distributed.barrier()
            torch.distributed.destroy_process_group()


def keep_freed_memory() -> None:
    """Have glibc keep what a training step frees for the next one, which else is paged in anew each time.

    Pretraining on a CPU, with its large logits, is faster for it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        for option, size in ((M_MMAP_THRESHOLD, 1 << 30), (M_TRIM_THRESHOLD, (1 << 31) - 1), (M_TOP_PAD, 1 << 26)):
            mallopt(option, size)


def return_freed_memory() -> None:
    """Have glibc give back what lies between blocks in use: batches of many shapes leave gigabytes of such gaps."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim:
        trim(0)


def has_native_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bf16; emulated bf16 is slower than fp32."""
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def cpu_flags() -> list[str]:
    """The instruction sets of this CPU that decide how fast models run on it."""
    capabilities = torch.cpu.get_capabilities()
    return [name for name in CPU_FLAGS if capabilities.get(name)]


def measured_on(device: torch.device = CPU) -> dict[str, str]:
    """The machine and the date of a measurement, to be kept beside its figures."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = torch.cpu.get_capabilities().get("cpu_name") or platform.processor() or platform.machine()
    return {"machine": f"{name}, {os.cpu_count()} CPU cores, {platform.system()}", "date": date.today().isoformat()}
