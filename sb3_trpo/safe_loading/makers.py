"""All that is made from a pickle, and how."""

from typing import Any

from sb3_trpo.safe_loading.allow_list import Vouched
from sb3_trpo.safe_loading.builder import Builder
from sb3_trpo.safe_loading.limits import Refused, printable
from sb3_trpo.safe_loading.nodes import Tree
from sb3_trpo.safe_loading.numpy_objects import ARRAY_MAKERS
from sb3_trpo.safe_loading.plain_objects import PLAIN_MAKERS
from sb3_trpo.safe_loading.space_objects import SPACE_MAKERS

MAKERS = {**PLAIN_MAKERS, **ARRAY_MAKERS, **SPACE_MAKERS}


def object_of(tree: Tree, vouched: Vouched) -> Any:
    """
    Make what a pickle stands for, if all of it is on the list.

    :param tree: of the pickle
    :param vouched: what the user allows beyond the list
    :return: the object
    :raises Refused: something is not on the list, by name
    """
    builder = Builder(tree, MAKERS, vouched)
    try:
        return builder.build(tree.root)
    except Refused:
        raise
    except Exception as error:  # of constructors, on arguments from the file
        raise Refused(f"{type(error).__name__}: {printable(error)}") from error
