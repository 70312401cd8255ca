"""
Checkpoints of training, and going on from them as if nothing had happened.

::

    model.learn(1_000_000, callback=TrainingCheckpoint(save_freq=10_000, path="checkpoints"))

writes them; after a crash, with environments like those before,

::

    learn_rest(resume("checkpoints", env), callback=TrainingCheckpoint(10_000, "checkpoints"))

does what is left of the million steps.
"""

from sb3_trpo.checkpoint.callback import TrainingCheckpoint
from sb3_trpo.checkpoint.resume import learn_rest, newest_checkpoint, resume

__all__ = ["TrainingCheckpoint", "learn_rest", "newest_checkpoint", "resume"]
