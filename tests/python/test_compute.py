"""Values, arrays and arguments of Client.compute, in this process and by a service."""
import array
import math

import ml_dtypes
import numpy as np
import pytest

import lossd


def softmax_oracle(logits, labels, axis=1):
    """Loss and gradient of the mean cross entropy, in float64 from the formula."""
    x = np.moveaxis(np.asarray(logits, np.float64), axis, -1)
    p = np.exp(x - x.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    hot = np.eye(x.shape[-1])[np.asarray(labels)]
    loss = -np.log((p * hot).sum(-1)).mean()
    return loss, np.moveaxis((p - hot) / hot[..., 0].size, -1, axis)


@pytest.mark.parametrize("dtype, tolerance", [
    (np.float64, 1e-12), (np.float32, 1e-6), (np.float16, 1e-3), (ml_dtypes.bfloat16, 8e-3)])
@pytest.mark.parametrize("label_dtype", [np.int64, np.int32, np.uint8, np.int16])
def test_matches_the_formula(client, rng, dtype, tolerance, label_dtype):
    x = rng.standard_normal((7, 11)).astype(dtype)
    y = rng.integers(0, 11, 7).astype(label_dtype)
    result = client.compute(x, y)
    loss, gradient = softmax_oracle(x, y)
    assert result.loss == pytest.approx(loss, rel=1e-6)
    assert result.gradient.dtype == dtype and result.gradient.shape == x.shape
    np.testing.assert_allclose(result.gradient.astype(np.float64), gradient, atol=tolerance)
    assert result.position_count == result.valid_count == 7
    assert float(result) == result.loss


def test_service_and_process_answer_with_the_same_bits(server, rng):
    with lossd.connect(server) as service, lossd.connect("local") as here:
        for shape, axis in [((5, 9), 1), ((3, 4, 6), 1), ((3, 4, 6), -1), ((2000, 700), 1)]:
            x = rng.standard_normal(shape).astype(np.float32)
            classes = shape[axis]
            y = rng.integers(0, classes, np.delete(shape, axis))
            spec = lossd.Softmax(class_axis=axis, label_smoothing=0.1, reduction="valid",
                                 ignore_labels=[0])
            a, b = (c.compute(x, y, spec, outputs=["argmax_hits"]) for c in (service, here))
            assert a.loss == b.loss and a.exact == b.exact and a.correct_count == b.correct_count
            assert a.gradient.tobytes() == b.gradient.tobytes()
            assert a.argmax_hits.tobytes() == b.argmax_hits.tobytes()


# Options without a default.
REQUIRED = {"policy": {"objective": "ppo"}}


def test_every_loss_of_the_catalogue_computes(client, rng):
    predictions = {"logits": rng.standard_normal((4, 5)),
                   "numbers": rng.standard_normal((4, 5)),
                   "probabilities": rng.dirichlet(np.ones(5), 4),
                   "log-probabilities": np.log(rng.dirichlet(np.ones(5), 4))}
    for row in lossd._core.catalogue()["losses"]:
        kind = getattr(lossd, "".join(part.capitalize() for part in row["name"].split("_")))
        takes = {tensor["name"]: tensor["required"] for tensor in row["tensors"]}
        x = predictions[row["predictions"]]
        over_classes = "class_indices" in takes
        if over_classes:
            targets = rng.integers(0, 5, 4)
        else:
            targets = np.ones((4, 5)) if "target_values" in takes else None
        is_target = {t["name"] for t in lossd._core.catalogue()["tensors"] if t["is_target"]}
        extra = {name: np.full(4 if over_classes else (4, 5), 0.5) for name, required in takes.items()
                 if required and name not in is_target | {"predictions"}}
        if row["name"] == "preference":  # both, or neither, or none with some variants
            extra |= {name: np.full((4, 5), -0.5) for name in takes if "reference" in name}
        result = client.compute(x, targets, kind(**REQUIRED.get(row["name"], {})), **extra)
        assert math.isfinite(result.loss) and result.gradient.shape == x.shape, row["name"]
        if row["name"] not in REQUIRED:
            assert client.compute(x, targets, row["name"], **extra).loss == result.loss


def test_permuted_arrays_are_read_where_they_lie(client, rng):
    plain = rng.standard_normal((2, 6, 3, 4)).astype(np.float32)
    y = rng.integers(0, 6, (2, 3, 4))
    wanted = client.compute(plain, y)
    channels_last = np.ascontiguousarray(plain.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert not channels_last.flags.c_contiguous
    result = client.compute(channels_last, y)
    # Other kernels compute what lies otherwise, so the last bit may differ.
    assert result.loss == pytest.approx(wanted.loss, rel=1e-6)
    assert result.gradient.strides == channels_last.strides
    np.testing.assert_allclose(result.gradient, wanted.gradient, atol=1e-6)
    into = np.empty_like(channels_last)
    client.compute(channels_last, y, out=into)
    np.testing.assert_array_equal(into, result.gradient)
    matrix = plain[:, :, 0, 0]
    labels = y[:, 0, 0].copy()
    transposed = client.compute(np.asfortranarray(matrix), labels)
    assert transposed.loss == pytest.approx(client.compute(matrix.copy(), labels).loss, rel=1e-6)


@pytest.mark.parametrize("shape", [(0, 5), (3, 5, 0)])
def test_no_positions_are_a_loss_of_zero(client, shape):
    result = client.compute(np.zeros(shape), np.zeros((shape[0], *shape[2:]), int))
    assert result.loss == 0 and result.position_count == 0 and result.gradient.shape == shape


def test_the_batch_must_vary_slowest_where_it_counts(client, rng):
    x = np.asfortranarray(rng.standard_normal((4, 3)))
    y = np.zeros(4, int)
    for arguments in [dict(spec=lossd.Softmax(reduction="batch")),
                      dict(spec=lossd.Softmax(weight_normalization="global"),
                           class_weights=np.ones(3)),
                      dict(class_weights=np.asfortranarray(np.ones((4, 3))))]:
        with pytest.raises(ValueError, match="varies slowest"):
            client.compute(x, y, **arguments)
    assert client.compute(np.ascontiguousarray(x), y, lossd.Softmax(reduction="batch"))


def test_results_go_where_they_are_wanted(client, rng):
    x = rng.standard_normal((6, 4)).astype(np.float32)
    y = rng.integers(0, 4, 6)
    wanted = client.compute(x, y)
    out = np.full_like(x, np.nan)
    assert client.compute(x, y, out=out).gradient is out
    np.testing.assert_array_equal(out, wanted.gradient)
    hits, losses = np.full(6, 9, np.uint8), np.full(6, np.nan)
    result = client.compute(x, y, gradient=False, out={"argmax_hits": hits, "position_losses": losses})
    assert result.gradient is None and result.position_losses is losses
    assert losses.mean() == pytest.approx(wanted.loss) and hits.sum() == result.correct_count
    over = x.copy()
    assert client.compute(over, y, out=over).gradient is over
    np.testing.assert_array_equal(over, wanted.gradient)


@pytest.mark.parametrize("out, message", [
    (np.empty((6, 5), np.float32), r"out: gradient has shape \[6,5\]; wanted \[6,4\]"),
    (np.empty((6, 4), np.float64), "out: gradient is float64; wanted float32"),
    (np.empty((4, 6), np.float32).T, "does not lie in memory as the predictions do"),
    (np.empty((6, 8), np.float32)[:, ::2], "does not lie in memory as the predictions do"),
    (bytes(96), "out: gradient"),
    ({"nope": None}, "outputs has \"nope\""),
])
def test_wrong_memory_for_results_is_refused(client, out, message):
    with pytest.raises((ValueError, TypeError), match=message):
        client.compute(np.zeros((6, 4), np.float32), np.zeros(6, int), out=out)


def test_memory_that_cannot_be_written_is_refused(client):
    out = np.zeros((6, 4), np.float32)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        client.compute(np.zeros((6, 4), np.float32), np.zeros(6, int), out=out)


def test_any_buffer_is_an_array(client):
    x = array.array("f", [0.5, 1.5, -0.5])
    result = client.compute(x, np.array(1))
    assert isinstance(result.gradient, np.ndarray) and result.gradient.shape == (3,)
    wanted = client.compute(np.frombuffer(x, np.float32), np.array(1))
    assert result.loss == wanted.loss
    assert client.compute(memoryview(np.zeros((2, 3))), memoryview(np.zeros(2, np.int64)))


def test_arrays_that_cannot_be_written_are_read(client):
    x = np.zeros((2, 3), np.float32)
    x.flags.writeable = False
    assert client.compute(x, np.zeros(2, int)).loss == pytest.approx(math.log(3))


@pytest.mark.parametrize("arguments, error, message", [
    (dict(predictions="text"), TypeError, "predictions is a str"),
    (dict(targets=object()), TypeError, "targets is a object"),
    (dict(predictions=np.zeros((2, 3), complex)), TypeError, "dtype"),
    (dict(predictions=np.zeros((2, 6))[:, ::2]), ValueError, "gaps in memory"),
    (dict(targets=np.zeros(4, int)[::2]), ValueError, "targets do not lie in memory"),
    (dict(targets=np.zeros(5, int)), ValueError, "shape"),
    (dict(targets=np.array([0, 3])), IndexError, "class_indices"),
    (dict(targets=np.array([0, -1])), IndexError, "class_indices"),
    (dict(spec="nope"), ValueError, "wanted one of softmax"),
    (dict(spec=3), TypeError, "wanted a loss"),
    (dict(nope=3), TypeError, "unexpected keyword argument 'nope'"),
    (dict(gradient=3), TypeError, "gradient is 3; wanted True or False"),
    (dict(outputs=["nope"]), ValueError, "wanted some of gradient"),
    (dict(target_kind="nope"), ValueError, "wanted one of class_indices, class_probabilities"),
    (dict(class_weights=-np.ones(3)), ValueError, "class_weights"),
    (dict(spec=lossd.Softmax(log_floor=2.0)), lossd.InvalidArgument, "log_floor"),
    (dict(spec=lossd.Softmax(class_axis=7)), ValueError, "class_axis"),
])
def test_errors_are_of_the_kinds_that_people_catch(client, arguments, error, message):
    arguments = {"predictions": np.zeros((2, 3)), "targets": np.zeros(2, int), **arguments}
    with pytest.raises(error, match=message) as caught:
        client.compute(**arguments)
    if isinstance(caught.value, lossd.Error):
        assert caught.value.code == "INVALID_ARGUMENT"


def test_sums_add_up_exactly(client, rng):
    x = rng.standard_normal((9, 4))
    y = rng.integers(0, 4, 9)
    whole = client.compute(x, y, lossd.Softmax(reduction="sum")).exact
    parts = [client.compute(x[i:j], y[i:j]).exact for i, j in ((5, 9), (0, 2), (2, 5))]
    assert parts[0] + parts[1] + parts[2] == whole
    assert sum(parts, lossd.Sums()) == whole


def test_nothing_of_a_call_stays(client, rng):
    import gc
    import sys
    x, y = rng.standard_normal((3, 4)), np.zeros(3, int)
    out = np.empty_like(x)
    before = [sys.getrefcount(a) for a in (x, y, out)]
    for _ in range(100):
        client.compute(x, y, out=out)
        with pytest.raises(ValueError):
            client.compute(x, np.full(3, 9), out=out)
    gc.collect()
    assert [sys.getrefcount(a) for a in (x, y, out)] == before


def test_memory_does_not_grow(client, rng):
    import resource
    x, y = rng.standard_normal((64, 512)).astype(np.float32), np.zeros(64, int)
    for _ in range(200):
        client.compute(x, y)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(1000):  # 128 KiB each
        client.compute(x, y)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 << 10  # KiB
