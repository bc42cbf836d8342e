"""The attention blocks against torch_ref's, and the survey's graph attention against its formula.

The defects are those of torch_ref/survey/README.md. Each test contains the survey's form in a few
lines, and shows what it does.
"""

import copy
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from flax.traverse_util import flatten_dict

from jaxvit.models.attention_blocks import (
    AttentionBlock,
    GraphAttention,
    graph_weights,
    reference_graph_weights,
)
from parity_tests.comparison import GRADIENTS, LOGITS, max_difference
from parity_tests.evidence import distance
from parity_tests.replay import IN_A_LAYER, replace_dropout
from parity_tests.survey.small_models import (
    block_twins,
    distances,
    in_torch,
    ported,
    random_batch,
    to_torch,
)
from torch_ref.survey import attention_blocks as torch_blocks

BATCH, NODES, WIDTH, HEADS = 3, 6, 8, 2


@pytest.fixture(scope="module")
def nodes():
    """(x, W_Q, W_K) of size one."""
    rng = np.random.default_rng(0)
    shapes = ((BATCH, NODES, WIDTH), (WIDTH, HEADS), (WIDTH, HEADS))
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def by_the_formula(x: np.ndarray, w_query: np.ndarray, w_key: np.ndarray) -> np.ndarray:
    """A_ij = softmax_j(LeakyReLU(w^T [x_i || x_j])), pair by pair, in float64."""
    w = np.concatenate([w_query, w_key]).astype(np.float64)
    weights = np.empty((BATCH, HEADS, NODES, NODES))
    for b, h, i in np.ndindex(BATCH, HEADS, NODES):
        scores = [w[:, h] @ np.concatenate([x[b, i], x[b, j]]) for j in range(NODES)]
        exps = [math.exp(s if s > 0 else 0.2 * s) for s in scores]
        weights[b, h, i] = np.array(exps) / sum(exps)
    return weights


def torchs_weights(x, w_query, w_key) -> np.ndarray:
    attention = torch_blocks.GraphAttention(WIDTH, HEADS)
    attention.query.weight.data = torch.tensor(w_query.T)
    attention.key.weight.data = torch.tensor(w_key.T)
    return attention.weights(torch.tensor(x)).detach().numpy()


def test_graph_weights_are_those_of_the_formula(nodes):
    x, w_query, w_key = nodes
    truth = by_the_formula(*nodes)
    assert max_difference(graph_weights(x @ w_query, x @ w_key), truth) < LOGITS
    assert max_difference(reference_graph_weights(*nodes), truth) < LOGITS
    assert max_difference(torchs_weights(*nodes), truth) < LOGITS


def test_the_fast_form_has_the_values_and_gradients_of_the_naive_one(nodes):
    probe = np.random.default_rng(1).normal(size=(BATCH, HEADS, NODES, NODES))

    def fast(x, w_query, w_key):
        return (graph_weights(x @ w_query, x @ w_key) * probe).sum()

    def naive(x, w_query, w_key):
        return (reference_graph_weights(x, w_query, w_key) * probe).sum()

    both = (jax.jit(jax.value_and_grad(form, (0, 1, 2))) for form in (fast, naive))
    found, expected = (compiled(*nodes) for compiled in both)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert max_difference(ours, theirs) < GRADIENTS


def test_the_fast_form_never_builds_all_pairs():
    """No array of (n, n, f) in the whole program of value and gradient, which the naive one has."""
    nodes, width = 33, 16

    def largest(form) -> int:
        arguments = [jnp.ones(shape) for shape in ((1, nodes, width), (width, 1), (width, 1))]
        text = str(jax.make_jaxpr(jax.grad(lambda *a: form(*a).var(), (0, 1, 2)))(*arguments))
        return f"{nodes},{nodes},{2 * width}" in text

    assert not largest(lambda x, q, k: graph_weights(x @ q, x @ k))
    assert largest(reference_graph_weights)


@pytest.mark.parametrize("attention", ["classic", "graph"])
def test_a_block_is_as_close_to_float64_as_torch(attention):
    model, jax_model, variables = block_twins(attention)
    drawn = jax.eval_shape(jax_model.init, jax.random.key(0), jnp.zeros((1, 6, 6, 10)))
    assert jax.tree.map(jnp.shape, drawn) == jax.tree.map(np.shape, variables)
    for row in distances(attention, model, jax_model, variables, random_batch(5, 6, 10)):
        assert row.holds, row


@pytest.mark.parametrize("attention", ["classic", "graph"])
def test_every_parameter_of_a_block_has_a_gradient_of_the_right_size(attention):
    """Each parameter alone, so that small gradients count too, and none is rounding by mistake."""
    model, jax_model, variables = block_twins(attention)
    batch = random_batch(5, 6, 10)
    truth, theirs = (in_torch(model, batch, dtype) for dtype in (torch.float64, torch.float32))

    def loss(params):
        logits = jax_model.apply({"params": params}, batch[0], deterministic=False)
        return -jax.nn.log_softmax(logits)[jnp.arange(5), batch[1]].mean()

    for path, ours in flatten_dict(jax.jit(jax.grad(loss))(variables["params"])).items():
        name = "/".join(("gradient", *path))
        row = distance(name, ours, theirs[name], truth[name])
        assert row.holds, row
        assert np.abs(truth[name]).max() > 1e-4, name


@pytest.mark.parametrize("attention", ["classic", "graph"])
def test_all_four_drops_of_a_block_are_torchs(attention):
    """Logits in training, with masks that JAX drew replayed in PyTorch."""
    rates = {"attention_dropout": 0.3, "projection_dropout": 0.2, "dropout": 0.25}
    model, jax_model, variables = block_twins(attention, **rates)
    images, _ = random_batch(5, 6, 10)

    @jax.jit
    def in_training(variables, images, key):
        return jax_model.apply(variables, images, False, rngs={"dropout": key}, mutable=["dropout"])

    logits, sown = in_training(variables, images, jax.random.key(3))
    found = flatten_dict(sown["dropout"])
    masks = [kept for path in IN_A_LAYER for kept in found.get(("layer", *path, "kept"), ())]
    assert len(masks) == 4
    replace_dropout(model.train()).load(masks)
    assert max_difference(logits, model(to_torch(images, torch.float32)).detach()) < LOGITS


@pytest.mark.parametrize("attention", ["classic", "graph"])
def test_initial_values_are_distributed_as_torchs(attention):
    """Standard deviation and size, of every parameter with enough numbers."""
    torch.manual_seed(1)
    options = {"attention": attention, "in_channels": 32, "embed_dim": 96, "num_heads": 8}
    theirs = flatten_dict(ported(torch_blocks.AttentionBlock(**options).state_dict())["params"])
    init = jax.jit(AttentionBlock(**options).init)
    ours = flatten_dict(init(jax.random.key(0), jnp.zeros((1, 4, 4, 32)))["params"])
    assert ours.keys() == theirs.keys()
    for path, expected in theirs.items():
        if np.ptp(expected) == 0:
            np.testing.assert_array_equal(ours[path], expected)
        elif expected.size >= 500:
            found = float(np.std(ours[path]))
            assert found == pytest.approx(float(np.std(expected)), rel=0.1), path
            if path[-1] != "positional_embedding":  # all others are uniform
                assert np.abs(ours[path]).max() < 3**0.5 * found * 1.1, path


def test_a_feature_map_of_another_size_and_an_odd_number_of_heads_are_refused():
    _, model, variables = block_twins("graph")
    with pytest.raises(ValueError, match="does not fit this model"):
        model.apply(variables, jnp.zeros((1, 4, 4, 10)))
    for attention in (GraphAttention, torch_blocks.GraphAttention):
        with pytest.raises(ValueError, match="embed_dim 8 is not divisible by num_heads 3"):
            attention(8, 3)


# Defects, and what was left open.


def test_one_f_for_both_nodes_fits_no_pair_or_makes_the_scores_symmetric(nodes):
    """Defect 1: w has f numbers, and [x_i || x_j] has 2 f."""
    x, w = torch.tensor(nodes[0][0]), torch.tensor(nodes[1][:, 0])
    pair = torch.cat([x[0], x[1]])
    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        torch.dot(w, pair)
    scores = F.leaky_relu((x @ w)[:, None] + (x @ w)[None, :], 0.2)  # f numbers used twice
    assert torch.allclose(scores, scores.T)  # j means to i what i means to j
    # Ours has 2 f: the log of a ratio of weights within a row, i to j against j to i.
    weights = np.log(torchs_weights(*nodes)[0, 0])
    scores = weights - weights.max(axis=1, keepdims=True)
    assert not np.allclose(scores - scores[:, :1], scores.T - scores.T[:, :1], atol=1e-2)
    for ours in (graph_weights(nodes[0] @ nodes[1], nodes[0] @ nodes[2]), torchs_weights(*nodes)):
        for half in (1, 2):
            changed = [*nodes[:half], nodes[half] + 1, *nodes[half + 1 :]]
            assert max_difference(ours, torchs_weights(*changed)) > 1e-2


def test_q_transposed_plus_k_is_the_formula_with_both_weights_swapped(nodes):
    """Defect 2: sigma(K_i + Q_j). Either can be learned; weights of one are wrong in the other."""
    x, w_query, w_key = (torch.tensor(each) for each in nodes)
    q, k = (x @ w_query)[..., :1], (x @ w_key)[..., :1]  # (N, nodes, 1), of the first head
    surveys = F.leaky_relu(q.transpose(1, 2) + k, 0.2).softmax(dim=2).numpy()
    formula, swapped = (
        by_the_formula(nodes[0], *weights)[:, 0]
        for weights in ((nodes[1], nodes[2]), (nodes[2], nodes[1]))
    )
    assert max_difference(surveys, swapped) < LOGITS
    assert max_difference(surveys, formula) > 0.1
    assert max_difference(torchs_weights(*nodes)[:, 0], formula) < LOGITS


def test_without_values_a_node_stays_among_the_nodes(nodes):
    """Defect 3: A x is a mean of x, with nothing to learn; ours is one of what W_V makes of x."""
    x = torch.tensor(nodes[0])
    surveys = torch.tensor(torchs_weights(*nodes)[:, 0]) @ x
    low, high = x.amin(1, keepdim=True), x.amax(1, keepdim=True)
    assert ((low <= surveys + 1e-6) & (surveys <= high + 1e-6)).all()

    attention = torch_blocks.GraphAttention(WIDTH, 1)
    ours = GraphAttention(WIDTH, 1)
    params = ported(attention.state_dict())["params"]
    for scale in (1.0, 10.0):  # of W_V: the output follows, which a mean of x cannot
        attention.value.weight.data = scale * torch.ones(WIDTH, WIDTH)
        params["value"]["kernel"] = scale * np.ones((WIDTH, WIDTH), np.float32)
        sums = x.sum(2, keepdim=True).expand_as(x) * scale + attention.value.bias
        expected = attention.fc_out(attention.weights(x)[:, 0] @ sums).detach()
        assert max_difference(attention(x).detach(), expected) < 1e-4
        assert max_difference(ours.apply({"params": params}, nodes[0]), expected) < 1e-4


def test_without_sigma_the_query_would_have_no_effect(nodes):
    """Left open: which sigma. softmax_j(q_i + k_j) = softmax_j(k_j), the same row for every i."""
    x, w_query, w_key = nodes
    sums = (x @ w_query)[:, :, None] + (x @ w_key)[:, None]  # (B, i, j, h)
    linear = np.asarray(jax.nn.softmax(sums, axis=2))
    assert np.abs(linear - linear[:, :1]).max() < 1e-6
    ours = np.asarray(graph_weights(x @ w_query, x @ w_key))
    assert np.abs(ours - ours[:, :, :1]).max() > 0.05


def test_the_logistic_sigma_could_not_single_out_a_node(nodes):
    """Left open: which sigma. Scores between 0 and 1 bound a weight by e / (n - 1 + e)."""
    x, w_query, w_key = 100 * nodes[0], nodes[1], nodes[2]
    sums = (x @ w_query)[:, :, None] + (x @ w_key)[:, None]
    logistic = np.asarray(jax.nn.softmax(jax.nn.sigmoid(sums), axis=2))
    assert logistic.max() <= math.e / (NODES - 1 + math.e) + 1e-6
    assert np.asarray(graph_weights(x @ w_query, x @ w_key)).max() > 0.99


def test_all_nodes_order_the_others_alike(nodes):
    """A known limit of it (Brody et al. 2022): sigma rises, so k_j alone orders them."""
    x, w_query, w_key = nodes
    order = np.argsort(np.asarray(graph_weights(x @ w_query, x @ w_key)), axis=-1)
    by_key = np.argsort((x @ w_key).swapaxes(1, 2), axis=-1)
    np.testing.assert_array_equal(order, np.broadcast_to(by_key[:, :, None], order.shape))


def test_the_class_token_reads_every_node_and_knows_its_place():
    """A changed node changes the logits, and so does another order of the same nodes."""
    model, jax_model, variables = block_twins("graph")
    x = random_batch(1, 6, 10)[0]
    apply = jax.jit(jax_model.apply)
    logits = apply(variables, x)
    for row, column in np.ndindex(3, 3):
        changed = copy.deepcopy(x)
        changed[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] += 1
        assert max_difference(apply(variables, changed), logits) > 1e-4
    turned = np.ascontiguousarray(x.transpose(0, 2, 1, 3))
    assert max_difference(apply(variables, turned), logits) > 1e-3
