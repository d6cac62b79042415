"""The event loop's side of the queue in front of the models: waiting for an answer without a thread."""

import asyncio
from collections.abc import Sequence
from typing import Any

from core.serving.micro_batcher import Job, MicroBatcher


async def answers(batcher: MicroBatcher, name: str, texts: Sequence[Any], seconds: float) -> list[Any]:
    """The model's answer for each text, in order; see `MicroBatcher.predict`."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    job = batcher.submit(name, texts, seconds, future)
    timer = loop.call_later(seconds, lapse, future)
    try:
        if texts:
            await future
    finally:
        timer.cancel()
        if not job.done.is_set():  # too late, or the client has left: what is left of it need not be computed
            batcher.give_up(job)
    return batcher.wait(job)


def wake(jobs: Sequence[Job]) -> None:
    """Have the event loops go on with the requests whose jobs are finished; called by the thread that computes."""
    for loop in {job.waiter.get_loop() for job in jobs if job.waiter}:
        if not loop.is_closed():
            loop.call_soon_threadsafe(release, [job.waiter for job in jobs if job.waiter], loop)


def release(waiters: Sequence[asyncio.Future], loop: asyncio.AbstractEventLoop) -> None:
    """Let those who wait in a loop go on."""
    for waiter in waiters:
        if waiter.get_loop() is loop and not waiter.done():
            waiter.set_result(None)


def lapse(waiter: asyncio.Future) -> None:
    """Let one who waits go on because the time is over."""
    if not waiter.done():
        waiter.set_result(None)
