import numpy as np
import pytest

from triton_backend_sdk import InternalError, Ragged

X = Ragged(np.arange(6), [0, 2, 2, 6])


def test_it_is_a_sequence_of_rows_that_are_views():
    assert len(X) == 3
    assert [row.tolist() for row in X] == [[0, 1], [], [2, 3, 4, 5]]
    assert X[-1].tolist() == [2, 3, 4, 5]
    assert np.shares_memory(X[2], X.values)
    with pytest.raises(IndexError):
        X[3]


def test_lengths_and_row_ids():
    assert X.lengths.tolist() == [2, 0, 4]
    assert X.row_ids.tolist() == [0, 0, 2, 2, 2, 2]
    assert np.bincount(X.row_ids, X.values, minlength=len(X)).tolist() == [1, 0, 14]


@pytest.mark.parametrize("cut", [slice(0, 2), slice(1, None), slice(2, 1), slice(0, 0), slice(-1, 9)])
def test_a_slice_is_ragged_again(cut):
    assert [row.tolist() for row in X[cut]] == [row.tolist() for row in list(X)[cut]]
    assert X[cut].offsets[0] == 0
    with pytest.raises(IndexError):
        X[::2]


def test_pad_mask_and_back():
    assert X.pad(-1).tolist() == [[0, 1, -1, -1], [-1] * 4, [2, 3, 4, 5]]
    assert X.mask.tolist() == [[True, True, False, False], [False] * 4, [True] * 4]
    assert X.pad(multiple_of=8).shape == (3, 8)
    assert [row.tolist() for row in X.unpad(X.pad(multiple_of=8) * 2)] == [[0, 2], [], [4, 6, 8, 10]]


def test_rows_of_more_dimensions():
    rows = [np.ones((2, 3)), np.zeros((1, 3))]
    ragged = Ragged.from_rows(rows)

    assert ragged.values.shape == (3, 3)
    assert ragged.pad().shape == (2, 2, 3)
    assert ragged.unpad(ragged.pad()).values.tolist() == ragged.values.tolist()


def test_strings():
    ragged = Ragged.from_rows([np.array([b"a", b"b"], object), np.array([], object)])

    assert ragged.pad(b"").tolist() == [[b"a", b"b"], [b"", b""]]


def test_like_keeps_the_lengths():
    assert X.like(X.values * 2.5).lengths.tolist() == X.lengths.tolist()
    with pytest.raises(InternalError, match="has 5 values, but its offsets end at 6"):
        X.like(X.values[:5])


@pytest.mark.parametrize(
    ("values", "offsets"),
    [([1, 2], [1, 2]), ([1, 2], [0, 2, 1, 2]), ([1], []), (np.float32(1), [0, 1]), ([1, 2], [[0, 2]])],
)
def test_offsets_that_cannot_be(values, offsets):
    with pytest.raises(InternalError, match="must rise from 0"):
        Ragged(values, offsets)


@pytest.mark.parametrize("rows", [[], [np.ones((1, 2)), np.ones((1, 3))], [np.float32(1)]])
def test_rows_that_cannot_be(rows):
    with pytest.raises(InternalError, match="may differ in their first dimension alone"):
        Ragged.from_rows(rows)


@pytest.mark.parametrize("shape", [(2, 4), (3, 3), (3,)])
def test_unpad_of_another_shape(shape):
    with pytest.raises(InternalError, match="holds no"):
        X.unpad(np.ones(shape))


def test_all_rows_empty_and_no_rows():
    assert Ragged(np.empty(0), [0, 0]).pad().shape == (1, 0)
    assert Ragged(np.empty(0), [0]).pad().shape == (0, 0)
