"""Arrays of every layout in memory: dense in any order of axes, with gaps, reversed, of any rank."""

import numpy as np
from hypothesis import strategies as st

DTYPES = [np.float32, np.float64]


@st.composite
def layouts(draw, max_rank=4, dtypes=DTYPES, min_side=0, max_side=4):
    """Draw a writeable array that does not overlap itself, filled with distinct normal numbers."""
    rank = draw(st.integers(0, max_rank))
    shape = draw(st.lists(st.integers(min_side, max_side), min_size=rank, max_size=rank))
    steps = draw(st.lists(st.sampled_from([1, 1, 1, 2, 3, -1, -2]), min_size=rank, max_size=rank))
    order = draw(st.permutations(range(rank)))
    sides = [max(1, n) * abs(step) for n, step in zip(shape, steps, strict=True)]
    base = np.empty([sides[k] for k in order], draw(st.sampled_from(dtypes)))
    whole = base.transpose(np.argsort(order)) if rank else base
    cuts = [slice(None, None, s) for s in steps]
    a = whole[(*cuts, ...)][(*(slice(0, n) for n in shape), ...)]
    a[...] = np.random.default_rng(draw(st.integers(0, 99))).standard_normal(shape)
    assert a.shape == tuple(shape)
    return a


def like(a, seed, draw_layout=None):
    """Return new numbers of the shape and dtype of ``a``, in C order."""
    return np.random.default_rng(seed).standard_normal(a.shape).astype(a.dtype)
