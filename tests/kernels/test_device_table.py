"""A table on a device: which streams wait for which, and which gradients may be used as they lie."""

import numpy as np
import pytest
from cuda_stand_in import DeviceArray, StandIn

import nbopt
from nbopt.kernels import cuda
from nbopt.kernels.device_table import DeviceTable
from nbopt.optim.sgd import descent


def stream_of(p):
    return p.data.stream


def table_of(*arrays):
    """Return a table over device arrays, every row active and without states, and its device."""
    device = StandIn()
    params = [nbopt.Parameter(a) for a in arrays]
    memories = [cuda.memory_of(a, "it") for a in arrays]
    table = DeviceTable(device, params, memories, range(len(params)), id, 0, stream_of)
    table.activate([True] * len(params))
    for row in range(len(params)):
        table.set_states(row, ())
    table.begin()
    return table, device


def gradient(n=4, stream=None):
    return cuda.memory_of(DeviceArray(np.ones(n), stream), "it")


def waits(device):
    """Return who waited for whom, and the stream that was launched in."""
    return [entry for entry in device.log if entry[0] in ("wait", "launch")]


@pytest.mark.parametrize(
    ("of_params", "of_gradients", "expected"),
    [
        ((None, None), (None, None), [("launch", 2, 0)]),
        ((5, 5), (5, None), [("launch", 2, 5)]),
        ((5, 5), (7, 7), [("wait", 5, 7), ("launch", 2, 5), ("wait", 7, 5)]),
        ((5, 6), (None, None), [("wait", 5, 6), ("launch", 2, 5), ("wait", 6, 5)]),
        ((None, None), (9, None), [("wait", 0, 9), ("launch", 2, 0), ("wait", 9, 0)]),
    ],
)
def test_the_launch_stands_in_the_parameters_stream_and_others_wait(of_params, of_gradients, expected):
    arrays = [DeviceArray(np.ones(4), stream) for stream in of_params]
    table, device = table_of(*arrays)
    for row, stream in enumerate(of_gradients):
        table.take(row, gradient(stream=stream))
    table.set_numbers((1.0, 0.0, 0.5))
    table.launch(descent)
    assert waits(device) == expected
    assert all((a.host == 0.5).all() for a in arrays)


def test_only_the_chosen_rows_are_launched_over():
    arrays = [DeviceArray(np.ones(4)) for _ in range(3)]
    table, device = table_of(*arrays)
    for row in range(3):
        table.take(row, gradient())
    table.set_numbers((1.0, 0.0, 0.5))
    table.launch(descent, np.array([0, 2]))
    assert [a.host[0] for a in arrays] == [0.5, 1.0, 0.5] and device.launches == 1
    table.launch(descent, np.array([], int))
    assert device.launches == 1


def test_a_gradient_is_used_as_it_lies_only_where_each_element_meets_its_own_parameter():
    block = np.ones(12)
    p, shifted = DeviceArray(block[:4]), cuda.memory_of(DeviceArray(block[2:6]), "it")
    table, _ = table_of(p)
    assert table.fits(0, gradient()) and table.fits(0, cuda.memory_of(p, "it"))
    assert table.fits(0, cuda.memory_of(DeviceArray(block[4:8]), "it"))
    assert not table.fits(0, shifted)
    square = DeviceArray(np.ones((3, 3)))
    table, _ = table_of(square)
    assert not table.fits(0, cuda.memory_of(DeviceArray(np.asfortranarray(np.ones((3, 3)))), "it"))


def test_a_gradient_in_another_parameters_memory_is_noticed():
    block = np.ones(8)
    first, second = DeviceArray(block[:4]), DeviceArray(block[4:])
    table, _ = table_of(first, second)
    table.take(0, gradient())
    table.take(1, gradient())
    assert not table.crossed()
    table.take(0, cuda.memory_of(second, "it"))
    assert table.crossed()
