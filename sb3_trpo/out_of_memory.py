"""An actor step that does not fit into memory: the same step in smaller chunks."""

import warnings
from collections.abc import Callable
from typing import TypeVar

import torch as th

Result = TypeVar("Result")


def in_chunks_that_fit(
    step: Callable[[int | None], Result], size: int | None, *, n_samples: int
) -> Result:
    """
    Take a step with chunks of a size, halved as often as memory runs out.

    :param step: takes the size of its chunks; raises before it changes anything, or undoes it
    :param size: to start with; None: all samples at once
    :param n_samples: of the batch
    :return: what the step returned
    :raises MemoryError: there is not enough memory even for chunks of one sample
    """
    while True:
        problem = ""
        try:
            return step(size)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            # Python's own MemoryError says nothing more than its name.
            problem = (str(error).splitlines() or [type(error).__name__])[0]
            failed = n_samples if size is None else min(size, n_samples)
            if failed == 1:
                raise MemoryError(
                    f"the actor's step runs out of memory with actor_batch_size=1, too: {problem}"
                ) from error
        # Only now: the exception's frames held the tensors of the step.
        size = failed // 2
        if th.cuda.is_initialized():  # type: ignore[no-untyped-call]
            th.cuda.empty_cache()
        warnings.warn(
            f"The actor's step ran out of memory with {failed} samples at a time: trying again "
            f"with actor_batch_size={size}, with the same result to rounding. {problem}",
            stacklevel=2,
        )


_MESSAGES = (
    "DefaultCPUAllocator",  # torch's allocator for the CPU raises a plain RuntimeError
    "could not create a primitive",  # all that oneDNN says
    "could not create a memory",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception says that an allocation failed: on a GPU, or on the CPU."""
    return isinstance(error, MemoryError | th.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in _MESSAGES)
    )
