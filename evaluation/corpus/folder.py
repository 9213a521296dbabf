"""What stands in a folder of training data."""

from __future__ import annotations

TRAINING, HELD_OUT, MANIFEST = "training.jsonl", "held_out.jsonl", "manifest.json"
