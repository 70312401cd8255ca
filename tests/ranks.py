"""Real processes of a torch.distributed group, which run functions of the tests together."""

import multiprocessing
import os
import signal
import traceback
from datetime import timedelta
from pathlib import Path

import torch as th
import torch.distributed as dist

TIMEOUT_S = 20
"""Of the group: how long a rank waits for a silent one."""


def _serve(rank, size, meeting_point, connection):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
    th.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=Path(meeting_point).as_uri(),
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=TIMEOUT_S),
    )
    while (job := connection.recv()) is not None:
        function, args = job
        try:
            connection.send((True, function(*args)))
        except BaseException as error:  # the test decides what it makes of it
            message = f"{type(error).__name__}: {error}"
            connection.send((False, (message, traceback.format_exc())))
    os._exit(0)  # without torch's parting words to ranks that may be gone


class Ranks:
    """
    A few ranks on this machine.

    :param folder: for the file they find each other by
    :param size: how many
    """

    def __init__(self, folder, size=2):
        context = multiprocessing.get_context("spawn")
        pipes = [context.Pipe() for _ in range(size)]
        self.connections = [ours for ours, _ in pipes]
        self.processes = [
            context.Process(
                target=_serve, args=(rank, size, str(folder / "meeting"), theirs), daemon=True
            )
            for rank, (_, theirs) in enumerate(pipes)
        ]
        for process in self.processes:
            process.start()

    def start(self, function, *args):
        """Let each rank call a function; an argument that is a list holds one per rank."""
        for rank, connection in enumerate(self.connections):
            own = [arg[rank] if isinstance(arg, list) else arg for arg in args]
            connection.send((function, own))

    def outcome(self, rank):
        """(True, result), or (False, (message, traceback))."""
        assert self.connections[rank].poll(10 * TIMEOUT_S), f"rank {rank} hangs"
        return self.connections[rank].recv()

    def run(self, function, *args):
        """The results, by rank."""
        self.start(function, *args)
        outcomes = [self.outcome(rank) for rank in range(len(self.connections))]
        for is_result, value in outcomes:
            assert is_result, value[1]
        return [value for _, value in outcomes]

    def errors(self, function, *args):
        """The messages of the exceptions, by rank."""
        self.start(function, *args)
        outcomes = [self.outcome(rank) for rank in range(len(self.connections))]
        assert not any(is_result for is_result, _ in outcomes), outcomes
        return [message for _, (message, _) in outcomes]

    def close(self):
        for process, connection in zip(self.processes, self.connections, strict=True):
            if process.is_alive():
                connection.send(None)
        for process in self.processes:
            process.join(10)
            process.kill()
