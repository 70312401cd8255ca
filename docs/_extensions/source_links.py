"""
The role ``src``: a link to the lines of a function or class.

``{src}`sb3_trpo.optim.line_search:kl_matching_search``` leads to the highlighted source that
``sphinx.ext.viewcode`` makes. It must be on a page of the API, which gives it an anchor there.
"""

import importlib
from operator import attrgetter
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

logger = logging.getLogger(__name__)


class SourceRole(SphinxRole):
    """Marks the place; the link is made when it is known where pages lie."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """
        Make the node.

        :return: it, and no messages
        """
        module, _, name = self.text.partition(":")
        try:
            attrgetter(name)(importlib.import_module(module))
        except (ImportError, AttributeError) as error:
            logger.warning("no such source: %s: %s", self.text, error, location=self.get_location())
        node = addnodes.pending_xref(
            "", refdomain="", reftype="src", reftarget=self.text, refdoc=self.env.docname
        )
        node += nodes.literal("", name, classes=["src"])
        return [node], []


def resolve(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, shown: nodes.Element
) -> nodes.reference | None:
    """
    Make the link.

    :param app: Sphinx
    :param env: knows what viewcode found
    :param node: left by the role
    :param shown: what the link shows
    :return: the link; None for other roles' nodes
    """
    if node["reftype"] != "src":
        return None
    module, _, name = node["reftarget"].partition(":")
    entry: Any = getattr(env, "_viewcode_modules", {}).get(module)
    if not entry or name not in entry[2]:
        logger.warning("on no page of the API: %s", node["reftarget"], location=node)
    page = f"_modules/{module.replace('.', '/')}"
    uri = f"{app.builder.get_relative_uri(node['refdoc'], page)}#{name}"
    return nodes.reference("", "", shown, internal=True, refuri=uri, reftitle=f"{module}.{name}")


def add_real_names(app: Sphinx, doctree: nodes.document) -> None:  # noqa: ARG001  # Sphinx's
    """
    Give what is documented under the name of a package its module's name as an anchor, too.

    The pages of the source lead back by one of the two, whichever viewcode met first.

    :param app: Sphinx
    :param doctree: of a page
    """
    for signature in doctree.findall(addnodes.desc_signature):
        module, name = signature.get("module"), signature.get("fullname")
        if module and name:
            documented = getattr(importlib.import_module(module), name.split(".")[0])
            real = f"{getattr(documented, '__module__', module)}.{name}"
            if real not in signature["ids"]:
                signature["ids"].append(real)


def setup(app: Sphinx) -> dict[str, bool]:
    """
    Let Sphinx know.

    :param app: Sphinx
    :return: what is safe
    """
    app.add_role("src", SourceRole())
    app.connect("missing-reference", resolve)
    app.connect("doctree-read", add_real_names)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
