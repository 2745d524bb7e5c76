"""What every training step does, by hand; and a state that comes back as it was."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from plates.errors import BadModel
from profiler.nets.checkpoint import load_state, save_state
from profiler.nets.state import TrainState, adamw, finished, running_average, unless_frozen


class Pace(NamedTuple):
    steps: int
    warmup: int
    learning_rate: float = 0.1
    weight_decay: float = 0.0


SHORT = Pace(9, 2)


def begin(size: int = 2) -> tuple[nnx.Linear, TrainState]:
    model = nnx.Linear(size, 3, rngs=nnx.Rngs(0))
    _, params, statistics = nnx.split(model, nnx.Param, nnx.BatchStat)
    moments = adamw(SHORT).init(params)
    return model, TrainState(jnp.int32(0), params, statistics, moments, params)


def test_the_average_starts_as_a_plain_mean_and_ends_as_a_slow_one():
    average = jnp.zeros(1)
    for step in range(3):
        share = (step + 1) / (step + 10)
        wanted = share * average + (1 - share) * 5.0
        average = running_average(average, jnp.full(1, 5.0), 0.99, jnp.int32(step))
        np.testing.assert_allclose(average, wanted, rtol=1e-6)
    late = running_average(jnp.zeros(1), jnp.ones(1), 0.99, jnp.int32(10_000))
    np.testing.assert_allclose(late, 0.01, rtol=1e-5)


def test_frozen_parts_stay_until_they_thaw():
    old, new = {"encoder": jnp.zeros(2), "head": jnp.zeros(2)}, {"encoder": 1.0, "head": 1.0}
    new = {name: jnp.full(2, value) for name, value in new.items()}

    def choose(thawed: bool) -> dict:
        return unless_frozen(new, old, jnp.array(thawed), is_frozen=lambda part: part == "encoder")

    assert jax.tree.map(lambda x: x.tolist(), choose(False)) == {"encoder": [0, 0], "head": [1, 1]}
    assert jax.tree.map(lambda x: x.tolist(), choose(True)) == {"encoder": [1, 1], "head": [1, 1]}


def test_the_rate_warms_up_and_decays():
    params = {"w": jnp.ones(1)}
    optimiser = adamw(Pace(20, 5))
    moments, moved = optimiser.init(params), []
    for _ in range(20):
        updates, moments = optimiser.update({"w": jnp.full(1, 0.5)}, moments, params)
        moved.append(abs(float(updates["w"][0])))
    assert moved[0] == 0.0
    assert int(np.argmax(moved)) == 5
    assert moved[5] == pytest.approx(0.1, rel=1e-3)  # Adam's step under a constant gradient
    assert moved[-1] < 0.01


def test_what_is_finished_has_the_averaged_weights_and_is_a_copy():
    model, state = begin()
    state = state._replace(average=jax.tree.map(lambda x: x + 1, state.params))
    done = finished(model, state)
    np.testing.assert_allclose(done.kernel[...], model.kernel[...] + 1)
    np.testing.assert_allclose(done.bias[...], 1)


def test_a_state_comes_back_bit_for_bit_with_what_was_noted(tmp_path):
    _, state = begin()
    grads = jax.tree.map(jnp.ones_like, state.params)
    optimiser = adamw(SHORT)
    updates, moments = optimiser.update(grads, state.moments, state.params)
    state = state._replace(
        step=jnp.int32(7), params=optax.apply_updates(state.params, updates), moments=moments
    )
    save_state(tmp_path / "a.safetensors", state, {"key": "k", "seen": [1, 2]})
    back, about = load_state(tmp_path / "a.safetensors", begin()[1])
    assert about == {"key": "k", "seen": [1, 2]}
    for one, other in zip(jax.tree.leaves(state), jax.tree.leaves(back), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_checkpoint_of_another_network_or_cut_short_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    save_state(path, begin()[1], {})
    with pytest.raises(BadModel, match="checkpoint of another network .*kernel.* differs"):
        load_state(path, begin(size=4)[1])
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BadModel, match="no checkpoint that training can go on from"):
        load_state(path, begin()[1])
