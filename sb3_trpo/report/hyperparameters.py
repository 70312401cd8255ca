"""
Reading hyperparameters as they lie in a run's folder, unpickling and evaluating nothing.

A saved model holds its attributes as JSON, in which what JSON cannot say is pickled: that stays
shut, and its type and the plain text beside it are shown.
"""

import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

LARGEST_HEADER = 64 * 2**20
"""Bytes of a model's attributes to read at most: a crafted zip unpacks to any size."""
NO_HYPERPARAMETERS = {
    "verbose", "num_timesteps", "start_time", "tensorboard_log", "device",
    "policy_class", "observation_space", "action_space", "action_noise",
    "ep_info_buffer", "ep_success_buffer", "rollout_buffer_class", "lr_schedule",
}  # fmt: skip
FROM_ARGUMENTS = {"algo": "algorithm", "env": "environment", "seed": "seed"}
"""Of rl_zoo3's ``args.yml``, which holds every option of its command line."""
PRIVATE = re.compile(r"[:_]")


class _PlainLoader(yaml.SafeLoader):
    """YAML without objects, but for the ordered dict as which rl_zoo3 writes its settings."""


def _ordered_dict(loader: _PlainLoader, node: yaml.Node) -> dict[str, Any]:
    pairs = loader.construct_sequence(node, deep=True)[0]  # type: ignore[arg-type]  # may raise
    return {str(key): value for key, value in pairs}


def _unread(loader: _PlainLoader, suffix: str, node: yaml.Node) -> str:  # noqa: ARG001
    return f"{suffix.rpartition(':')[2]} (unread)"


_PlainLoader.add_constructor(
    "tag:yaml.org,2002:python/object/apply:collections.OrderedDict", _ordered_dict
)
_PlainLoader.add_multi_constructor("tag:yaml.org,2002:python/", _unread)


def read_hyperparameters(
    models: Iterable[Path], settings: Iterable[Path], notes: list[str]
) -> dict[str, str]:
    """
    Read what a run's saved model and rl_zoo3's files say.

    :param models: saved models, the newest first; the first readable one counts
    :param settings: ``config.yml`` and ``args.yml``
    :param notes: takes what could not be read
    :return: name to value, in words; the model's own where both have one
    """
    model = next(filter(None, (_of_model(path, notes) for path in models)), {})
    written: dict[str, Any] = {}
    for path in settings:
        content = _of_yaml(path, notes)
        if path.name == "args.yml":
            content = {FROM_ARGUMENTS[k]: v for k, v in content.items() if k in FROM_ARGUMENTS}
        written |= content
    found = {key: in_words(value) for key, value in _flat(written).items()}
    for key, value in model.items():
        # A schedule is a function in the model, but readable ("lin_1e-3") where it was set.
        if key not in found or not _is_opaque(value):
            found[key] = in_words(value)
    return dict(sorted(found.items()))


def _of_model(path: Path, notes: list[str]) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("data").file_size > LARGEST_HEADER:
                raise ValueError("its attributes are larger than any model's")
            data = dict(json.loads(archive.read("data")))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        notes.append(f"{path.name}: no model's attributes can be read from it ({error})")
        return {}
    named = {k: v for k, v in data.items() if k not in NO_HYPERPARAMETERS and k[0] != "_"}
    return {"algorithm": algorithm_of(data), **_flat(named)}


def algorithm_of(attributes: Mapping[str, Any]) -> str:
    """
    Tell the algorithm, which no file names, by its attributes.

    :param attributes: of a saved model
    :return: its name, or an empty string
    """
    known = {
        "match_kl": "TRPO",
        "cg_max_steps": "TRPO (sb3_contrib)",
        "clip_range": "PPO",
        "learning_starts": "",
        "gae_lambda": "A2C",
    }
    return next((name for key, name in known.items() if key in attributes), "")


def _of_yaml(path: Path, notes: list[str]) -> dict[str, Any]:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            content = yaml.load(file, _PlainLoader)  # a SafeLoader
        json.dumps(content, default=str)  # fails where an alias leads round in a circle
    except (OSError, ValueError, TypeError, IndexError, yaml.YAMLError) as error:
        notes.append(f"{path.name}: cannot be read ({type(error).__name__})")
        return {}
    return content if isinstance(content, dict) else {}


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give the entries of a dict of arguments (policy_kwargs, say) a row each."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value.get(":type:", "<class 'dict'>") == "<class 'dict'>":
            inner = {f"{key}.{k}": v for k, v in value.items() if not PRIVATE.match(str(k))}
            flat |= _flat(inner)
        else:
            flat[str(key)] = value
    return flat


def _is_opaque(value: Any) -> bool:
    return isinstance(value, dict) and ":serialized:" in value


def in_words(value: Any) -> str:
    """
    Say a plain value, or the type of one that stays unread.

    :param value: from JSON or YAML
    :return: text without line breaks
    """
    if isinstance(value, dict) and ":type:" in value:
        kind = re.sub(r"^<class '(.*)'>$", r"\1", str(value[":type:"])).rpartition(".")[2]
        if "value_schedule" in value:  # SB3's wrapper around every schedule
            return in_words(value["value_schedule"])
        inner = [f"{k}={in_words(v)}" for k, v in value.items() if not PRIVATE.match(str(k))]
        return f"{kind}({', '.join(inner)})" if inner else f"{kind} (unread)"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, str):
        value = re.sub(r"^ConstantSchedule\(val=(.*)\)$", r"\1", value)
        value = re.sub(r" at 0x[0-9a-f]+", "", value)  # differs from run to run and says nothing
        return " ".join(re.sub(r"^<class '(.*)'>$", r"\1", value).split())
    return " ".join(json.dumps(value, default=str).split())


def plain_number(text: str | None) -> float | None:
    """
    Return a hyperparameter that is one number.

    :param text: as read
    :return: None if it is missing or something else
    """
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
