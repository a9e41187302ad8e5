"""The quadrature over difficulties integrates over a normal variable."""

from __future__ import annotations

import pytest

from routemoa.judging.difficulty import DIFFICULTY_NODES, DIFFICULTY_WEIGHTS


def test_nodes_and_weights_are_those_of_a_normal_variable() -> None:
    moments = [sum(w * x**n for w, x in zip(DIFFICULTY_WEIGHTS, DIFFICULTY_NODES, strict=True)) for n in range(5)]
    assert moments == pytest.approx([1, 0, 1, 0, 3], abs=1e-12)
