"""The classes and functions that are made from the catalogue."""
import inspect
import pickle

import numpy as np
import pytest

import lossd
from lossd import _core, functional, losses

CATALOGUE = _core.catalogue()


def test_every_loss_has_a_class_and_a_function_with_its_options():
    assert len(losses.__all__) == len(functional.__all__) == len(CATALOGUE["losses"])
    for row, kind, function in zip(CATALOGUE["losses"], losses.__all__, functional.__all__):
        spec = getattr(losses, kind)()
        assert spec.loss == row["name"]
        wanted = {field["name"]: field["default"] for field in row["options"] + row["common"]}
        parameters = inspect.signature(getattr(losses, kind)).parameters
        assert {name: p.default for name, p in parameters.items()} == wanted
        for name, default in wanted.items():
            assert getattr(spec, name) == default
        assert row["name"] in getattr(functional, function).__doc__


def test_specs_are_values():
    spec = lossd.Softmax(reduction="sum", ignore_labels=[-100, 3], denominator=None)
    assert repr(spec) == "Softmax(reduction='sum', ignore_labels=(-100, 3))"
    assert eval(repr(spec), vars(lossd)) == spec
    assert hash(spec) == hash(lossd.Softmax(ignore_labels=(-100, 3), reduction="sum"))
    assert spec != lossd.Softmax() and spec != "softmax" and lossd.Softmax() != lossd.Nll()
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert spec.replace(reduction="valid").changed() == {
        "reduction": "valid", "ignore_labels": (-100, 3)}
    assert spec.gradient_dtype is None
    assert lossd.Softmax(gradient_dtype=np.float16).gradient_dtype == "float16"
    assert lossd.Softmax(gradient_dtype="bf16").gradient_dtype == "bfloat16"
    with pytest.raises(AttributeError):
        spec.nope


@pytest.mark.parametrize("arguments, error, message", [
    (dict(log_floor="a"), TypeError, "log_floor is 'a'; wanted a number"),
    (dict(reduction="average"), ValueError, "reduction is \"average\"; wanted one of \"positions\""),
    (dict(reduction=3), TypeError, "reduction is 3"),
    (dict(ignore_labels=3), TypeError, "ignore_labels is 3"),
    (dict(ignore_labels=["a"]), TypeError, "ignore_labels"),
    (dict(ignore_labels=[1 << 70]), ValueError, "64 bits"),
    (dict(class_axis=1.5), TypeError, "class_axis is 1.5; wanted an integer"),
    (dict(gradient_dtype="int3"), TypeError, "wanted a dtype"),
    (dict(nope=1), TypeError, "nope"),
])
def test_wrong_options_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        lossd.Softmax(**arguments)


def test_functions_have_the_meanings_of_pytorch(rng):
    x = rng.standard_normal((6, 4))
    y = np.array([0, 1, -100, 3, 2, 1])
    weight = np.array([1.0, 2.0, 0.5, 3.0])
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    keep = y >= 0
    each = np.where(keep, -np.log(p[np.arange(6), np.where(keep, y, 0)]), 0) * weight[np.where(keep, y, 0)]
    result = lossd.softmax_cross_entropy(x, y, weight=weight)
    assert result.loss == pytest.approx(each[keep].sum() / weight[y[keep]].sum())
    assert lossd.softmax_cross_entropy(x, y, weight=weight, reduction="sum").loss == pytest.approx(
        each[keep].sum())
    none = lossd.softmax_cross_entropy(x, y, weight=weight, reduction="none")
    np.testing.assert_allclose(none.position_losses, each)
    q = rng.dirichlet(np.ones(4), 6)
    soft = lossd.softmax_cross_entropy(x, q, weight=weight)
    assert soft.loss == pytest.approx(-(q * weight * np.log(p)).sum() / 6)
    assert np.isnan(lossd.softmax_cross_entropy(x, np.full(6, -100)).loss)
    t = rng.standard_normal((6, 4))
    squares = lossd.squared_error(x, t, weight=np.abs(t))
    assert squares.loss == pytest.approx((np.abs(t) * (x - t) ** 2).mean())
    np.testing.assert_allclose(squares.gradient, 2 * np.abs(t) * (x - t) / 24)


@pytest.mark.skipif(not hasattr(lossd, "Policy"), reason="no loss has one option of several")
def test_one_option_of_several():
    assert lossd.Policy().objective is None
    assert lossd.Policy(objective="ppo") == lossd.Policy(objective={"ppo": {}})
    spec = lossd.Policy(objective={"ppo": {"ratio_low": 0.9}}, input="log_probabilities")
    assert spec.objective == {"ppo": {"ratio_low": 0.9}} and eval(repr(spec), vars(lossd)) == spec
    for wrong, error in (("nope", ValueError), ({"ppo": {"nope": 1}}, TypeError), (3, TypeError),
                         ({"ppo": {"ratio_low": "a"}}, TypeError), ({"ppo": {}, "dro": {}}, TypeError)):
        with pytest.raises(error, match="objective|ratio_low"):
            lossd.Policy(objective=wrong)


def test_losses_without_targets_and_with_second_predictions(rng):
    if not hasattr(lossd, "PairwiseLogistic"):
        pytest.skip("no such loss")
    x, second = rng.standard_normal((3, 2)), rng.standard_normal((3, 2)).astype(np.float32)
    result = lossd.pairwise_logistic(x, second_predictions=second)
    wanted = np.log1p(np.exp(-(x - second)))
    assert result.loss == pytest.approx(wanted.mean())
    assert result.second_gradient.dtype == np.float32
    np.testing.assert_allclose(result.second_gradient, -result.gradient, rtol=1e-6)
    with pytest.raises(ValueError, match="takes no targets"):
        lossd.connect("local").compute(x, x, lossd.PairwiseLogistic(), second_predictions=second)
