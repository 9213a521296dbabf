"""Editor-facing layer: the only one that knows LSP, and the one that wires the others."""
