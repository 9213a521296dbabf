"""A cursor in a possibly broken buffer → ``Hole``: the repaired text, and what place in its statement the hole has."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

import tree_sitter

from holefill.context.items import CharOffset, Cursor
from holefill.context.syntax.languages import LANGUAGES
from holefill.context.syntax.parsing import Parsed, encode
from holefill.context.syntax.repair import SENTINEL, Repair, repair
from holefill.context.types.oracle import Hole, Role

_NAMES = frozenset({"identifier", "property_identifier", "type_identifier", "field_identifier"})
_CALLS = frozenset({"call", "call_expression", "new_expression"})
_MEMBERS = {"attribute": ("object", "attribute"), "member_expression": ("object", "property")}
"""Node of ``a.b`` → its fields."""
_ARGUMENTS = frozenset({"argument_list", "arguments"})
_TRANSPARENT = frozenset({"parenthesized_expression", "boolean_operator", "not_operator", "unary_expression"})
"""Inside these a condition is still one."""
_LOGICAL = frozenset({"&&", "||", "??"})
_COMPARISONS = frozenset({"==", "!=", "<", ">", "<=", ">=", "===", "!=="})
_CONDITIONS = frozenset(
    {"if_statement", "elif_clause", "while_statement", "assert_statement", "if_clause", "do_statement"}
)
_SIMPLE = {
    "return_statement": Role.RETURN,
    "raise_statement": Role.RAISED,
    "with_item": Role.CONTEXT_MANAGER,
    "expression_statement": Role.STATEMENT,
    "for_statement": Role.ITERABLE,
    "for_in_clause": Role.ITERABLE,
    "for_in_statement": Role.ITERABLE,
}
_MADE_IN = frozenset({"parameters", "lambda_parameters", "type"})
_MADE_AS = {
    **dict.fromkeys(("function_definition", "class_definition"), "name"),
    **dict.fromkeys(("default_parameter", "typed_default_parameter"), "name"),
}
"""Python: a name that is being made, or a type; no value is wanted there."""
_FUNCTIONS = frozenset(
    {
        *("function_definition", "function_declaration", "method_definition", "arrow_function"),
        *("function_expression", "generator_function_declaration"),
    }
)
_SCOPES = _FUNCTIONS | {"lambda", "class_definition", "class_declaration"}
_TOP = re.compile(r"^(?=[^\s)\]}#/*])", re.M)


@dataclass(frozen=True, slots=True)
class HoleAt:
    """The hole, and the tree it was read from."""

    hole: Hole
    repair: Repair
    node: tree_sitter.Node = field(repr=False)


def hole_at(cursor: Cursor, previous: Parsed | None = None, repaired: Repair | None = None) -> HoleAt | None:
    """None where nothing with a type can stand: in a comment or string, in an import, in unknown languages.

    ``repaired``: the cursor's repair, where somebody has it (``index.documents``); ``previous``: an earlier tree.
    """
    if cursor.language not in LANGUAGES or not 0 <= cursor.offset <= len(cursor.text):
        return None
    repaired = repaired or repair(cursor.language, cursor.text, cursor.offset, previous)
    source = repaired.parsed.source
    at = len(encode(repaired.text[: repaired.hole]))
    node = repaired.parsed.root.descendant_for_byte_range(at, at + len(SENTINEL))
    if node is None or node.type not in _NAMES or _is_import(node):
        return None
    return HoleAt(_Reader(cursor, repaired, source).read(node), repaired, node)


def _is_import(node: tree_sitter.Node) -> bool:
    outer: tree_sitter.Node | None = node
    while outer is not None:
        if outer.type.startswith(("import_", "future_import")):
            return True
        outer = outer.parent
    return False


class _Reader:
    def __init__(self, cursor: Cursor, repaired: Repair, source: bytes) -> None:
        self._cursor = cursor
        self._repair = repaired
        self._source = source
        self._ascii = len(source) == len(repaired.text)

    def read(self, name: tree_sitter.Node) -> Hole:
        expression, receiver = name, None
        parent = name.parent
        if parent is not None and parent.type in _MEMBERS:
            object_field, name_field = _MEMBERS[parent.type]
            if parent.child_by_field_name(name_field) == name:
                expression, receiver = parent, parent.child_by_field_name(object_field)
        outer = expression.parent
        while (
            outer is not None
            and outer.type in _CALLS
            and expression
            in (
                outer.child_by_field_name("function"),
                outer.child_by_field_name("constructor"),
            )
        ):
            expression, outer = outer, outer.parent
        start, end = self._span(expression)
        name_start, name_end = self._span(name)
        hole = Hole(
            path=self._cursor.path,
            language=self._cursor.language,
            text=self._repair.text,
            start=start,
            end=end,
            name_start=name_start,
            name_end=name_end,
            role=Role.OTHER,
            statement=self._statement(name),
            receiver=None if receiver is None else self._span(receiver),
            typed=self._repair.text[name_start : self._repair.hole],
            root=self._cursor.root,
            version=self._cursor.version,
        )
        hole = self._with_call(hole, expression)
        return replace(self._with_role(hole, expression), typed_around=self._typed_around(expression))

    def _with_call(self, hole: Hole, expression: tree_sitter.Node) -> Hole:
        """The innermost call of which the hole is inside the arguments."""
        node, parent = expression, expression.parent
        while parent is not None and parent.type not in _SCOPES:
            if parent.type in _ARGUMENTS and parent.parent is not None and parent.parent.type in _CALLS:
                call = parent.parent
                function = call.child_by_field_name("function") or call.child_by_field_name("constructor")
                if function is None:
                    return hole
                given = [child for child in parent.named_children if child.type != "comment"]
                key = node.child_by_field_name("name") if node.type == "keyword_argument" else None
                return replace(
                    hole,
                    callee=self._span(function),
                    argument=next((index for index, child in enumerate(given) if child == node), -1),
                    keyword="" if key is None else self._text(key),
                )
            node, parent = parent, parent.parent
        return hole

    def _with_role(self, hole: Hole, expression: tree_sitter.Node) -> Hole:
        node, parent = expression, expression.parent
        while parent is not None and parent.type in _TRANSPARENT:
            node, parent = parent, parent.parent
        if parent is None:
            return hole
        if parent.type in _MADE_IN or ((key := _MADE_AS.get(parent.type)) and parent.child_by_field_name(key) == node):
            return replace(hole, role=Role.STATEMENT)
        if parent.type in _CONDITIONS or self._is_condition(parent, node):
            # `if |` wants a bool; `if a == |` is decided by what it is compared with, which `parent` would then be.
            return replace(hole, role=Role.CONDITION)
        if parent.type in _ARGUMENTS or parent.type == "keyword_argument":
            return replace(hole, role=Role.ARGUMENT)
        if parent.type in _SIMPLE:
            if node != expression and parent.type == "expression_statement":
                return hole
            annotation = self._return_type(parent) if parent.type == "return_statement" else ""
            return replace(hole, role=_SIMPLE[parent.type], annotation=annotation)
        if parent.type == "arrow_function" and parent.child_by_field_name("body") == node:
            return replace(hole, role=Role.RETURN, annotation=self._annotation(parent, "return_type"))
        return self._with_target(hole, parent, node)

    def _typed_around(self, expression: tree_sitter.Node) -> bool:
        """Python: is there a call, an annotation or a declared target around it, up to its statement?"""
        parent = expression.parent
        while parent is not None and not parent.is_error:
            if parent.type in ("argument_list", "yield", "augmented_assignment"):
                return True
            if parent.type == "return_statement":
                return bool(self._return_type(parent))
            if parent.type == "assignment":
                left = parent.child_by_field_name("left")
                if left is None or left.type != "identifier" or parent.child_by_field_name("type") is not None:
                    return True
                return self._declared(self._text(left))
            if parent.type.endswith(("_statement", "_definition")) or parent.type in ("block", "module"):
                return False
            parent = parent.parent
        return self._cursor.language != "python"

    def _declared(self, name: str) -> bool:
        """Somewhere in the file: a name followed by a colon is good enough."""
        return re.search(rf"\b{re.escape(name)}\s*:", self._repair.text) is not None

    def _is_condition(self, parent: tree_sitter.Node, node: tree_sitter.Node) -> bool:
        if parent.type == "conditional_expression":  # Python: value if condition else value
            return len(parent.named_children) > 1 and parent.named_children[1] == node
        return parent.type == "ternary_expression" and parent.child_by_field_name("condition") == node

    def _with_target(self, hole: Hole, parent: tree_sitter.Node, node: tree_sitter.Node) -> Hole:
        left = parent.child_by_field_name("left")
        if parent.type in ("assignment", "assignment_expression") and parent.child_by_field_name("right") == node:
            annotation = self._annotation(parent, "type")
            if annotation:
                return replace(hole, role=Role.ANNOTATED, annotation=annotation)
            if left is not None and left.type in (
                "attribute",
                "subscript",
                "member_expression",
                "subscript_expression",
            ):
                return replace(hole, role=Role.TARGET, subject=self._span(left))
            return hole
        if parent.type in (
            *("typed_default_parameter", "variable_declarator", "public_field_definition"),
            *("required_parameter", "optional_parameter"),
        ):
            annotation = self._annotation(parent, "type")
            return replace(hole, role=Role.ANNOTATED, annotation=annotation) if annotation else hole
        if parent.type in ("subscript", "subscript_expression"):
            value = parent.child_by_field_name("value") or parent.child_by_field_name("object")
            return hole if value is None or value == node else self._as(hole, Role.INDEX, value)
        if parent.type in ("binary_operator", "binary_expression", "comparison_operator"):
            return self._with_operator(hole, parent, node)
        return hole

    def _with_operator(self, hole: Hole, parent: tree_sitter.Node, node: tree_sitter.Node) -> Hole:
        if parent.type == "comparison_operator":
            operands = parent.named_children
            index = operands.index(node) if node in operands else -1
            operators = parent.children_by_field_name("operators")
            spelled = self._text(operators[0]) if operators else ""
            if index > 0 and spelled in _COMPARISONS:
                return replace(self._as(hole, Role.COMPARED, operands[index - 1]), operator=spelled)
            return hole
        left, operator = parent.child_by_field_name("left"), parent.child_by_field_name("operator")
        if left is None or operator is None or left == node:
            return hole
        spelled = self._text(operator)
        if spelled in _LOGICAL:
            return hole
        role = Role.COMPARED if spelled in _COMPARISONS else Role.OPERAND
        return replace(self._as(hole, role, left), operator=spelled)

    def _as(self, hole: Hole, role: Role, subject: tree_sitter.Node) -> Hole:
        return replace(hole, role=role, subject=self._span(subject))

    def _return_type(self, node: tree_sitter.Node) -> str:
        outer = node.parent
        while outer is not None and outer.type not in _SCOPES:
            outer = outer.parent
        if outer is None or outer.type not in _FUNCTIONS or any(child.type == "async" for child in outer.children):
            return "" if outer is None else self._awaited(outer)
        return self._annotation(outer, "return_type")

    def _awaited(self, function: tree_sitter.Node) -> str:
        """What `return` gives in an async function: the annotation in Python, the promised type in TypeScript."""
        annotation = self._annotation(function, "return_type")
        promised = re.fullmatch(r"Promise<(.*)>", annotation, re.S)
        return promised[1] if promised else annotation

    def _annotation(self, node: tree_sitter.Node, name: str) -> str:
        found = node.child_by_field_name(name)
        return "" if found is None else self._text(found).lstrip(":").strip()

    def _statement(self, node: tree_sitter.Node) -> CharOffset:
        """Of the whole top-level statement; where recovery swallowed several into one, of the last unindented line."""
        while node.parent is not None and node.parent.parent is not None:
            node = node.parent
        start = self._chars(node.start_byte)
        if node.is_error or node.has_error:
            for match in _TOP.finditer(self._repair.text, start, self._repair.hole + 1):
                start = CharOffset(match.start())
        return CharOffset(self._repair.text.rfind("\n", 0, start) + 1)

    def _span(self, node: tree_sitter.Node) -> tuple[CharOffset, CharOffset]:
        return self._chars(node.start_byte), self._chars(node.end_byte)

    def _chars(self, byte: int) -> CharOffset:
        return CharOffset(byte if self._ascii else len(self._source[:byte].decode("utf-8", "replace")))

    def _text(self, node: tree_sitter.Node) -> str:
        return self._source[node.start_byte : node.end_byte].decode("utf-8", "replace")
