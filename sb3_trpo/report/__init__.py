"""
A report of runs: one page that opens offline, and PNGs, from the logs as they lie in their folders.

``python -m sb3_trpo.report RUN_DIR [RUN_DIR…]``; :func:`make_report` is the same from Python.
"""

try:
    import jinja2  # noqa: F401
    import matplotlib  # noqa: F401
    import tensorboard  # type: ignore[import-untyped]  # noqa: F401
    import yaml  # noqa: F401
except ImportError as error:
    raise ImportError(
        f'sb3_trpo.report: {error}; pip install ".[report]" in a clone of sb3_trpo'
    ) from error

from sb3_trpo.report.making import Report, make_report

__all__ = ["Report", "make_report"]
