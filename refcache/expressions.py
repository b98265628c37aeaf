"""The conditions in an rmap's header (`rmap_omit`, `rmap_relevance`, `parkey_relevance`), never executed.

An expression is parsed once and walked by a whitelist of nodes: names, constants, tuples and lists,
comparisons, and, or, not, if-else. Anything else spoils the mapping when it is loaded.
"""

import ast
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

MAX_EXPRESSION = 20_000

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}
_ALLOWED = (
    *(ast.Expression, ast.Name, ast.Load, ast.Constant, ast.Tuple, ast.List, ast.Compare),
    *(ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.IfExp, *_COMPARE),
)


def compile_expression(text: str, parkeys: Iterable[str]) -> ast.expr:
    """Parse a condition; the parkeys' dots become underscores, as CRDS has it.

    Raises
    ------
    ValueError
        If the text is no expression or holds anything but the whitelist.
    """
    if len(text) > MAX_EXPRESSION:
        raise ValueError(f"an expression of {len(text)} characters; at most {MAX_EXPRESSION} are read")
    for key in parkeys:
        text = text.replace(key, key.replace(".", "_"))
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{text!r} is no expression: {error}") from error
    for node in ast.walk(tree):
        if not isinstance(node, _ALLOWED):
            raise ValueError(f"{type(node).__name__} is not allowed in {text!r}; compare header keys with values")
    return tree.body


def expression_names(header: Mapping[str, object]) -> dict[str, object]:
    """Return what a condition can name: the header's keys, those with dots also with underscores."""
    return {key.replace(".", "_"): value for key, value in header.items()} | dict(header)


def evaluate(node: ast.expr, header: Mapping[str, object]) -> object:
    """Return the value of a compiled condition, its names looked up in `expression_names(...)`.

    Raises
    ------
    LookupError
        If it names a key that the header does not have.
    TypeError
        If it compares what cannot be compared.
    """
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return _lookup(node.id, header)
        case ast.Tuple() | ast.List():
            return tuple(evaluate(element, header) for element in node.elts)
        case ast.IfExp():
            return evaluate(node.body if evaluate(node.test, header) else node.orelse, header)
        case ast.UnaryOp(op=ast.Not()):
            return not evaluate(node.operand, header)
        case ast.UnaryOp():
            return -evaluate(node.operand, header)  # type: ignore[operator]
        case ast.BoolOp():
            return _boolean(node, header)
        case ast.Compare():
            return _compare(node, header)
    raise TypeError(f"{type(node).__name__} cannot be evaluated")  # compile_expression lets none through


def _lookup(name: str, header: Mapping[str, object]) -> object:
    if name not in header:
        raise LookupError(f"the expression names {name}, which is no key of the header")
    return header[name]


def _boolean(node: ast.BoolOp, header: Mapping[str, object]) -> object:
    value: object = None
    for part in node.values:
        value = evaluate(part, header)
        if bool(value) is isinstance(node.op, ast.Or):
            break
    return value


def _compare(node: ast.Compare, header: Mapping[str, object]) -> bool:
    left = evaluate(node.left, header)
    for comparison, right_node in zip(node.ops, node.comparators, strict=True):
        right = evaluate(right_node, header)
        if not _COMPARE[type(comparison)](left, right):
            return False
        left = right
    return True
