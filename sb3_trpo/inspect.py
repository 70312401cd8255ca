"""
Say what is in the zip of a model, running nothing of it.

    python -m sb3_trpo.inspect model.zip

Prints algorithm, versions, spaces, hyperparameters, counts and parameters, and of each pickled
object whether ``load(…, trusted=False)`` takes it. Ends with 0 if it takes the file, with 1 if not.
"""

import argparse
import reprlib
import sys
from collections.abc import Iterator
from typing import Any

from sb3_trpo.safe_loading.allow_list import Vouched, name_of
from sb3_trpo.safe_loading.limits import Budget, Refused, printable
from sb3_trpo.safe_loading.load import check_sizes, refusals_in
from sb3_trpo.safe_loading.model_file import (
    PARAMETERS,
    Attribute,
    ModelFile,
    read_bytes,
    read_model_file,
)
from sb3_trpo.safe_loading.pickle_tree import read_pickle
from sb3_trpo.safe_loading.tensors import Tensor, TensorFile
from sb3_trpo.zip_format import check_is_trpo, was_written_by_contrib

_PICKLE = b"\x80"
_SPACES = ("observation_space", "action_space")
_COUNTS = ("num_timesteps", "_total_timesteps", "_n_updates", "_n_skipped_updates", "_episode_num")
_LONGEST = 300
_REPR = reprlib.Repr()  # which cuts what is nested or long before it is written out
_REPR.maxother = _REPR.maxstring = _LONGEST
_MOST_LINES = 40
_WIDTH = 32
_LOADS = (
    "Loads with trusted=False. Without that, all pickled objects would be made as the file says, "
    "those made anew included."
)


def parser_of_options() -> argparse.ArgumentParser:
    """Say what the command line takes."""
    parser = argparse.ArgumentParser(
        "python -m sb3_trpo.inspect", description=__doc__.split("\n")[1]
    )
    parser.add_argument("file", help="zip of a model, or a pickle (vec_normalize.pkl)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """
    Print what is in a file.

    :param arguments: of the command line; None: the process's
    :return: 0 if it can be loaded with ``trusted=False``, else 1
    """
    path = parser_of_options().parse_args(arguments).file
    try:
        raw = read_bytes(path)
        if raw.startswith(_PICKLE):
            lines, refusals = [*_pickle_lines(raw)], ["a pickle by itself is not loaded"]
        else:
            file = read_model_file(raw, Vouched(()), frozenset())
            lines, refusals = [*_lines(file)], _refusals(file, path)
    except FileNotFoundError:  # its text has SB3's second try, model.zip.zip
        print(f"{path} cannot be read: there is no such file", file=sys.stderr)
        return 1
    except (Refused, OSError) as error:
        print(f"{path} cannot be read: {printable(error, _LONGEST)}", file=sys.stderr)
        return 1
    print(f"{path}: {len(raw):,} bytes", *lines, sep="\n")
    print("\nREFUSED with trusted=False:" if refusals else f"\n{_LOADS}")
    for refusal in refusals:
        print(f"  - {refusal}")
    return int(bool(refusals))


def _refusals(file: ModelFile, path: str) -> list[str]:
    refusals = refusals_in(file)
    if refusals:
        return refusals
    try:
        check_is_trpo(file.attributes, path)
        check_sizes(file, file.values())
    except ValueError as error:
        return [str(error)]
    return []


def _lines(file: ModelFile) -> Iterator[str]:
    yield _line("algorithm", _algorithm(file))
    version = file.entries.get("_stable_baselines3_version", b"unknown")
    yield _line("Stable-Baselines3", _text(version))
    for line in file.entries.get("system_info.txt", b"").splitlines()[:_MOST_LINES]:
        yield f"  {_text(line)}"
    plain = {name: a for name, a in file.attributes.items() if not a.is_pickle}
    for title, names in (
        ("Spaces", _SPACES),
        ("Counts", _COUNTS),
        ("Hyperparameters", [name for name in plain if name not in (*_SPACES, *_COUNTS)]),
    ):
        yield f"\n{title}"
        for name in names:
            if name in file.attributes:
                yield f"  {_line(printable(name), _shown(file.attributes[name]))}"
    yield "\nParameters"
    for name in PARAMETERS:
        if name in file.tensors:
            yield from _tensor_lines(name, file.tensors[name])
    yield "\nPickled objects"
    for name, attribute in file.attributes.items():
        if attribute.is_pickle:
            yield from _verdict(printable(name), attribute)
    yield "\nEntries"
    for name, content in file.entries.items():
        how = "refused" if name in file.refusals else _how_read(name, file)
        yield f"  {_line(name, f'{len(content):,} bytes, {how}')}"


def _algorithm(file: ModelFile) -> str:
    try:
        check_is_trpo(file.attributes, "this file")
    except ValueError as error:
        return str(error)
    policy = file.attributes.get("policy_class", Attribute()).value
    module = policy.__module__ if isinstance(policy, type) else ""
    variants = {".maskable.": "MaskableTRPO", ".recurrent.": "RecurrentTRPO"}
    name = next((name for part, name in variants.items() if part in module), "TRPO")
    origin = "sb3_contrib" if was_written_by_contrib(file.attributes) else "sb3_trpo"
    return f"{name} (written by {origin})"


def _tensor_lines(name: str, file: TensorFile) -> Iterator[str]:
    tensors = list(_tensors(file.content))
    n_numbers = sum(_size(tensor) for _, tensor in tensors)
    yield f"  {_line(name, f'{len(tensors)} tensors, {n_numbers:,} numbers')}"
    if name == PARAMETERS[0]:
        for path, tensor in tensors[:_MOST_LINES]:
            shape = " × ".join(map(str, tensor.shape)) or "scalar"
            yield f"    {_line(printable(path), f'{shape}  {tensor.kind}')}"
        if len(tensors) > _MOST_LINES:
            yield f"    … and {len(tensors) - _MOST_LINES} more"


def _tensors(content: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(content, Tensor):
        yield path, content
    elif isinstance(content, dict):
        for name, part in content.items():
            yield from _tensors(part, f"{path}.{name}" if path else str(name))


def _size(tensor: Tensor) -> int:
    size = 1
    for n in tensor.shape:
        size *= n
    return size


def _verdict(name: str, attribute: Attribute) -> Iterator[str]:
    verdict = _shown(attribute)
    yield f"  {_line(name, verdict if attribute.refusal else f'loaded: {verdict}')}"
    if attribute.names:
        yield f"  {_line('', 'names ' + _names(attribute.names))}"


def _pickle_lines(raw: bytes) -> Iterator[str]:
    tree = read_pickle(raw, Budget(len(raw)))
    yield _line("a pickle", "unpickling it would import and call what it names")
    yield _line("names", _names(tree.names))
    calls = dict.fromkeys(call.name or "what another call returns" for call in tree.calls)
    yield _line("calls", _names(tuple(calls)))


def _names(names: tuple[str, ...]) -> str:
    shown = ", ".join(printable(name) for name in names[:_MOST_LINES])
    return shown + (f" and {len(names) - _MOST_LINES} more" if len(names) > _MOST_LINES else "")


def _shown(attribute: Attribute) -> str:
    if attribute.refusal:
        verdict = "made anew" if attribute.is_left_out else "REFUSED"
        return f"{verdict}: {attribute.refusal}"
    value = attribute.value
    return name_of(value) if isinstance(value, type) else printable(_REPR.repr(value), _LONGEST)


def _how_read(name: str, file: ModelFile) -> str:
    return "loaded" if name == "data" or name in file.tensors else "not read by load()"


def _text(content: bytes) -> str:
    return printable(content[:_LONGEST].decode(errors="replace"))


def _line(name: str, text: str) -> str:
    return f"{name:<{_WIDTH}} {text}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
