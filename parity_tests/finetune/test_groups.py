import jax
import pytest
import torch

from jaxvit.optim.groups import rate_factors, trained_paths
from parity_tests.finetune.small_models import LAYERS, as_params, lukemelas, timms
from torch_ref.finetune.groups import count_layers, freeze, layer_group, param_groups

PARTS = ["none", "0 layers", "1 layer", "3 layers", "backbone"]


def models(monkeypatch) -> list[torch.nn.Module]:
    return [timms(), lukemelas(monkeypatch)]


def rates(model: torch.nn.Module, **options) -> dict[str, float]:
    """The rate of each trained parameter, by its name."""
    found = {}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for group in param_groups(model, **options):
        for parameter in group["params"]:
            assert id(parameter) in names
            found[names.pop(id(parameter))] = group["lr"]
    assert not any(model.get_parameter(name).requires_grad for name in names.values())
    return found


def filled_with(model: torch.nn.Module, values: dict[str, float]) -> torch.nn.Module:
    """Each parameter is its number everywhere, or -1 where it has none."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(values.get(name, -1.0))
    return model


def test_rates_by_layer_are_those_of_jaxvit(monkeypatch):
    """Through the conversion of weights: each parameter is filled with its own rate."""
    for model in models(monkeypatch):
        found = rates(model, lr=0.5, weight_decay=0.0, layer_decay=0.75, head_lr=8.0)
        theirs = as_params(filled_with(model, found))
        factors = rate_factors(theirs, 0.75, 8.0)
        for (path, array), factor in zip(
            jax.tree.leaves_with_path(theirs), jax.tree.leaves(factors), strict=True
        ):
            assert (array == jax.numpy.float32(0.5 * factor)).all(), path


@pytest.mark.parametrize("part", PARTS)
def test_what_is_frozen_is_what_jaxvit_freezes(monkeypatch, part):
    for model in models(monkeypatch):
        trained = rates(freeze(model, part), lr=1.0, weight_decay=0.0)
        theirs = as_params(filled_with(model, trained))
        paths = trained_paths(theirs, part)
        for path, array in jax.tree.leaves_with_path(theirs):
            ours = paths is None or tuple(entry.key for entry in path) in paths
            assert (array == (1.0 if ours else -1.0)).all(), path


def test_only_matrices_decay_where_that_is_asked():
    groups = param_groups(timms(), 1.0, 0.1, decay="matrices")
    for group in groups:
        assert {p.ndim > 1 and p.shape[0] != 1 for p in group["params"]} == {
            group["weight_decay"] == 0.1
        }
    assert {group["weight_decay"] for group in param_groups(timms(), 1.0, 0.1)} == {0.1}


def test_a_frozen_part_has_no_gradient_and_keeps_its_bits():
    model = freeze(timms(), "2 layers")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW(param_groups(model, 0.1, 0.5))
    model(torch.randn(2, 3, 8, 8)).square().sum().backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        trains = layer_group(name, LAYERS) > 2
        assert (parameter.grad is not None) == trains
        assert torch.equal(parameter, before[name]) != trains, name
    assert len(optimizer.state) == sum(p.requires_grad for p in model.parameters())


def test_parts_that_are_not_there_are_refused():
    assert count_layers(timms()) == LAYERS
    with pytest.raises(ValueError, match="has 3 layers"):
        freeze(timms(), "4 layers")
    with pytest.raises(ValueError, match="'half' is none of"):
        freeze(timms(), "half")
    with pytest.raises(ValueError, match="generator.weight is not a parameter"):
        layer_group("generator.weight", 3)
