# ruff: noqa: UP007, UP045  # the old spellings are to be understood too
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, Optional, TypedDict, TypeVar, Union

T = TypeVar("T")


@dataclass
class Euro:
    cents: int


@dataclass
class Dollar:
    cents: int


Currency = Union[Euro, Dollar]


@dataclass
class Amount:
    value: int
    currency: Currency

    def doubled(self) -> Amount:
        return Amount(self.value * 2, self.currency)


@dataclass
class Transaction:
    sender: str
    receiver: str
    amount: Optional[Amount] = None
    parent: Optional[Transaction] = None
    notes: list[str] = field(default_factory=list)


class Box(Generic[T]):
    content: T

    def __init__(self, content: T) -> None:
        self.content = content

    def get(self) -> T:
        return self.content

    def put(self, content: T) -> None:
        self.content = content


class Options(TypedDict):
    depth: int
    label: str


class Account:
    limit: float = 0.0

    def __init__(self, owner: str, amount: Amount) -> None:
        self.owner = owner
        self.amount = amount
        self.history: list[Transaction] = []

    def pay(self, amount: Amount, to: str, *, urgent: bool = False) -> Transaction:
        return Transaction(self.owner, to, amount)

    def __enter__(self) -> Account:
        return self

    def __exit__(self, *error: object) -> None: ...


def create_amount(value: int, currency: Currency) -> Amount:
    return Amount(value, currency)


def find(name: str, fallback: Account | None = None) -> Account:
    raise KeyError(name)


def each(items: list[T], act: Callable[[T], str]) -> list[str]:
    return [act(item) for item in items]


@contextmanager
def opened(name: str) -> Iterator[Account]:
    yield find(name)
