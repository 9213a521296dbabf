"""What is on the shelves. The completion in checkout.py needs a name that only this file knows."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Hold:
    sku: str
    quantity: int


@dataclass
class Warehouse:
    shelves: dict[str, int] = field(default_factory=dict)

    def put_on_hold(self, sku: str, quantity: int) -> Hold:
        """Set goods aside for a customer; they can no longer be sold to others."""
        if self.shelves.get(sku, 0) < quantity:
            raise LookupError(f"not enough of {sku}")
        self.shelves[sku] -= quantity
        return Hold(sku, quantity)

    def release_hold(self, hold: Hold) -> None:
        """Put goods that were set aside back on the shelf."""
        self.shelves[hold.sku] = self.shelves.get(hold.sku, 0) + hold.quantity
