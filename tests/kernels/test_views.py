"""Parts of a work array: the memory is shared, the shapes are right."""

import numpy as np

from nbopt.kernels.compile import compiled
from nbopt.kernels.views import flat, matrix, row, vector


@compiled
def _fill(work):
    v, m = vector(work, 2, 3), matrix(work, 5, 2, 4)
    for k in range(v.size):
        v[k] = k + 1
    for i in range(m.shape[0]):
        for j in range(m.shape[1]):
            m[i, j] = 10 * (i + 1) + j
    last = row(m, 1)
    for j in range(last.size):
        last[j] += 5
    flat(m)[3] += 7
    return v.size + m.size + last.size


def test_views_write_to_the_work_array():
    for dtype in (np.float64, np.float32, np.int64):
        work = np.zeros(14, dtype)
        assert _fill(work) == 15
        np.testing.assert_array_equal(work, [0, 0, 1, 2, 3, 10, 11, 12, 20, 25, 26, 27, 28, 0])
