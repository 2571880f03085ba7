from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from segspec.evaluate.answers import Answer, average, conclude


def test_averages_of_averages_are_those_of_all_samples() -> None:
    """Five groups of equal weight, each of three samples: one after the other, or all fifteen at once."""
    samples = np.random.default_rng(0).dirichlet(np.ones(4), (5, 3, 2, 7)).astype(np.float32)
    answers = [Answer(jnp.asarray(own.mean(0)), jnp.asarray(own.var(0).sum(-1))) for own in samples]
    found = average(answers)
    every = samples.reshape(15, 2, 7, 4).astype(np.float64)
    np.testing.assert_allclose(found.mean, every.mean(0), atol=1e-6)
    np.testing.assert_allclose(found.variance, every.var(0).sum(-1), atol=1e-6)


def test_one_answer_is_its_own_average() -> None:
    answer = Answer(jnp.asarray([[[0.25, 0.75]]]), jnp.asarray([[0.125]]))
    assert jax.tree.all(jax.tree.map(np.array_equal, average([answer]), answer))


def test_the_best_class_is_that_of_the_mean_and_not_of_most() -> None:
    answers = [Answer(jnp.asarray([[[0.51, 0.49]]]), jnp.zeros((1, 1)))] * 2
    answers.append(Answer(jnp.asarray([[[0.1, 0.9]]]), jnp.zeros((1, 1))))
    found = conclude(average(answers), uncertain=False)
    assert (found.labels.tolist(), found.labels.dtype, found.uncertainty) == ([[1]], np.uint8, None)
