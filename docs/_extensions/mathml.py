"""
Formulas as MathML, made when the pages are built.

Every current browser draws MathML itself, so the pages need no script for it and no network.
"""

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)
converter = LatexToMathML(fancy_error=False)


def _converted(node: nodes.math | nodes.math_block, *, as_block: bool) -> str:
    formula = node.astext()
    if as_block and r"\\" in formula:
        formula = rf"\begin{{aligned}}{formula}\end{{aligned}}"
    try:
        return converter.convert_with_local_state(formula, displaystyle=as_block)
    except LatexError as error:
        logger.warning("formula that cannot be converted: %s: %s", error, formula, location=node)
        return ""


def visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    """
    Write a formula within a line.

    :param self: writes the page
    :param node: the formula
    :raises SkipNode: always: there is nothing inside
    """
    self.body.append(_converted(node, as_block=False))
    raise nodes.SkipNode


def visit_block(self: HTML5Translator, node: nodes.math_block) -> None:
    """
    Write a formula on lines of its own.

    :param self: writes the page
    :param node: the formula
    :raises SkipNode: always: there is nothing inside
    """
    self.body.append(f'<div class="formula">{_converted(node, as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """
    Let Sphinx know.

    :param app: Sphinx
    :return: what is safe
    """
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
