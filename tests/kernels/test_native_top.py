"""The native top of logits equals its reference at a real vocabulary, and refuses what it cannot read."""

from __future__ import annotations

import pytest
import torch

from holefill.kernels import native_top
from holefill.kernels.top import reference

TOLERANCE = 4e-6
"""fp32 sums of 150,000 exponentials in 16 lanes."""

LOGITS = torch.randn(3, 151_937, generator=torch.Generator().manual_seed(0)) * 4

needs_native = pytest.mark.skipif(not native_top.serves(LOGITS), reason="no native kernels or no AVX-512 here")


@needs_native
def test_a_real_vocabulary() -> None:
    ids, log_probs = native_top.top(LOGITS)
    expected_ids, expected = reference(LOGITS)
    assert torch.equal(ids, expected_ids)
    torch.testing.assert_close(log_probs.double(), expected, rtol=0, atol=TOLERANCE)
    lost = LOGITS.clone()
    lost[1, int(expected_ids[1, 7])] -= 20
    assert not torch.equal(native_top.top(lost)[0], expected_ids)


@needs_native
def test_rows_of_a_wider_tensor() -> None:
    wide = torch.randn(4, 200, generator=torch.Generator().manual_seed(1))
    ids, log_probs = native_top.top(wide[:, 3:100])
    expected_ids, expected = reference(wide[:, 3:100])
    assert torch.equal(ids, expected_ids)
    torch.testing.assert_close(log_probs.double(), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("wrong", [LOGITS[0], LOGITS.double(), LOGITS.T])
def test_what_it_cannot_read_is_refused(wrong: torch.Tensor) -> None:
    assert not native_top.serves(wrong)
    with pytest.raises(ValueError, match="no native kernel"):
        native_top.top(wrong)
