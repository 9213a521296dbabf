"""Golden table: what each language's query finds."""

from __future__ import annotations

import pytest

from holefill.context.syntax.definitions import definitions
from holefill.context.syntax.parsing import parse
from holefill.context.syntax.scopes import enclosing, enclosing_class

# language, source, {(kind, qualified name): (signature, documentation)}
GOLDEN = [
    (
        "python",
        '''import os
K = 1
class A(Base):
    """Doc of A.

    More."""
    x: int = 3
    def __init__(self, y: int) -> None:
        self.y = y
        self.y = 2
        def local(): pass
    async def run(self): return 1
def f(a,
      b=2):
    "F doc"
''',
        {
            ("constant", "K"): ("K = 1", ""),
            ("class", "A"): ("class A(Base)", "Doc of A."),
            ("field", "A.x"): ("x: int = 3", ""),
            ("method", "A.__init__"): ("def __init__(self, y: int) -> None", ""),
            ("attribute", "A.y"): ("self.y = y", ""),
            ("method", "A.run"): ("async def run(self)", ""),
            ("function", "f"): ("def f(a, b=2)", "F doc"),
        },
    ),
    (
        "typescript",
        """/** Makes it.
 * @param x
 */
export function make(x: number): Foo { function local() {} return 1 }
export const arrow = (a: string): void => { let local = 1 };
export interface I extends J { a: string; m(x: number): void }
enum E { A, B = 2 }
export abstract class C<T> { private p: T; constructor(q: string) { } /** doc g */ get g(): number { return 1 } }
type U = A | B;
namespace N { export function inner() {} }
""",
        {
            ("function", "make"): ("function make(x: number): Foo", "Makes it."),
            ("function", "arrow"): ("const arrow = (a: string): void", ""),
            ("interface", "I"): ("interface I extends J", ""),
            ("field", "I.a"): ("a: string", ""),
            ("method", "I.m"): ("m(x: number): void", ""),
            ("enum", "E"): ("enum E", ""),
            ("field", "E.A"): ("A", ""),
            ("field", "E.B"): ("B = 2", ""),
            ("class", "C"): ("abstract class C<T>", ""),
            ("field", "C.p"): ("private p: T", ""),
            ("method", "C.constructor"): ("constructor(q: string)", ""),
            ("method", "C.g"): ("get g(): number", "doc g"),
            ("type", "U"): ("type U = A | B", ""),
            ("module", "N"): ("namespace N", ""),
            ("function", "N.inner"): ("function inner()", ""),
        },
    ),
    (
        "tsx",
        "export const View = (p: Props) => <div>{p.a}</div>;\nfunction h(): void {}\n",
        {
            ("function", "View"): ("const View = (p: Props)", ""),
            ("function", "h"): ("function h(): void", ""),
        },
    ),
    (
        "javascript",
        "// Runs.\nfunction run(a) {}\nclass A extends B { x = 1; // not of m\n m(q) {} }\n"
        "const f = async (z) => 1;\nvar v = 2;\n",
        {
            ("function", "run"): ("function run(a)", "Runs."),
            ("class", "A"): ("class A extends B", ""),
            ("field", "A.x"): ("x = 1", ""),
            ("method", "A.m"): ("m(q)", ""),
            ("function", "f"): ("const f = async (z)", ""),
            ("constant", "v"): ("var v = 2", ""),
        },
    ),
    (
        "java",
        """package a;
/** A class. */
public class A extends B { private final int x = 1; /** run it */ public void run(int a) throws X { } A() {}
  interface I { void m(); } enum E { P } }
record R(int a) {}
""",
        {
            ("class", "A"): ("public class A extends B", "A class."),
            ("field", "A.x"): ("private final int x = 1", ""),
            ("method", "A.run"): ("public void run(int a) throws X", "run it"),
            ("method", "A.A"): ("A()", ""),
            ("interface", "A.I"): ("interface I", ""),
            ("method", "A.I.m"): ("void m()", ""),
            ("enum", "A.E"): ("enum E", ""),
            ("field", "A.E.P"): ("P", ""),
            ("class", "R"): ("record R(int a)", ""),
        },
    ),
    (
        "go",
        """package a
// Point is a point.
type Point struct { X int }
// Add adds.
func (p *Point) Add(q Point) Point { return q }
func New() *Point { return nil }
type I interface { M(x int) error }
const K = 1
type T int
""",
        {
            ("class", "Point"): ("Point struct", "Point is a point."),
            ("field", "Point.X"): ("X int", ""),
            ("method", "Point.Add"): ("func (p *Point) Add(q Point) Point", "Add adds."),
            ("function", "New"): ("func New() *Point", ""),
            ("interface", "I"): ("I interface { M(x int) error }", ""),
            ("method", "I.M"): ("M(x int) error", ""),
            ("constant", "K"): ("K = 1", ""),
            ("type", "T"): ("T int", ""),
        },
    ),
    (
        "rust",
        """/// A point.
pub struct P<T> { pub x: T }
impl<T> P<T> { /// New one.
 pub fn new(x: T) -> Self { P { x } } }
trait Q { fn m(&self); }
enum E { A(i32), B }
fn free() {}
mod m { fn g() {} }
""",
        {
            ("class", "P"): ("pub struct P<T> { pub x: T }", "A point."),
            ("field", "P.x"): ("pub x: T", ""),
            ("method", "P.new"): ("pub fn new(x: T) -> Self", "New one."),
            ("interface", "Q"): ("trait Q", ""),
            ("method", "Q.m"): ("fn m(&self)", ""),
            ("enum", "E"): ("enum E", ""),
            ("field", "E.A"): ("A(i32)", ""),
            ("field", "E.B"): ("B", ""),
            ("function", "free"): ("fn free()", ""),
            ("module", "m"): ("mod m", ""),
            ("function", "m.g"): ("fn g()", ""),
        },
    ),
    (
        "csharp",
        """namespace A.B {
 /// <summary>Doc.</summary>
 public class C : D { int x; public int P { get; set; } public C(int a) { } public string M(int q) => ""; }
 interface I { void N(); } record R(int A); }
""",
        {
            ("module", "A.B"): ("namespace A.B", ""),
            ("class", "A.B.C"): ("public class C : D", "Doc."),
            ("field", "A.B.C.x"): ("int x", ""),
            ("field", "A.B.C.P"): ("public int P { get; set; }", ""),
            ("method", "A.B.C.C"): ("public C(int a)", ""),
            ("method", "A.B.C.M"): ("public string M(int q)", ""),
            ("interface", "A.B.I"): ("interface I", ""),
            ("method", "A.B.I.N"): ("void N()", ""),
            ("class", "A.B.R"): ("record R(int A)", ""),
        },
    ),
    (
        "c",
        """/* Adds. */
int add(int a, int b) { return a; }
struct P { int x; char *y; };
#define M 1
int decl(int);
enum E { A };
char *s(void) { return 0; }
""",
        {
            ("function", "add"): ("int add(int a, int b)", "Adds."),
            ("class", "P"): ("struct P", ""),
            ("field", "P.x"): ("int x", ""),
            ("field", "P.y"): ("char *y", ""),
            ("constant", "M"): ("#define M 1", ""),
            ("function", "decl"): ("int decl(int)", ""),
            ("enum", "E"): ("enum E", ""),
            ("field", "E.A"): ("A", ""),
            ("function", "s"): ("char *s(void)", ""),
        },
    ),
    (
        "cpp",
        """namespace n {
/// A class.
class C : public B { public: int m(int a) const; int inl() { return 1; } private: int x_; };
int C::m(int a) const { return 1; } }
template <typename T> T id(T t) { return t; }
using T = int;
""",
        {
            ("module", "n"): ("namespace n", ""),
            ("class", "n.C"): ("class C : public B", "A class."),
            ("method", "n.C.m"): ("int m(int a) const", ""),
            ("method", "n.C.inl"): ("int inl()", ""),
            ("field", "n.C.x_"): ("int x_", ""),
            ("method", "C.m"): ("int C::m(int a) const", ""),
            ("function", "id"): ("T id(T t)", ""),
            ("type", "T"): ("using T = int", ""),
        },
    ),
]


@pytest.mark.parametrize(("language", "source", "expected"), GOLDEN, ids=[row[0] for row in GOLDEN])
def test_golden(language: str, source: str, expected: dict[tuple[str, str], tuple[str, str]]) -> None:
    found = {
        (known.kind, known.qualified): (known.signature, known.doc) for known in definitions(parse(language, source))
    }
    assert found == expected


def test_enclosing_scopes() -> None:
    source = "class A:\n    def m(self):\n        x = 1\n        y\n\ndef f():\n    pass\n"
    parsed = parse("python", source)
    at = source.index("y\n")
    assert [known.qualified for known in enclosing(parsed, at)] == ["A", "A.m"]
    around = enclosing_class(parsed, at)
    assert around is not None
    assert around.name == "A"
    assert enclosing_class(parsed, source.index("pass")) is None
