"""lossd.torch against torch.nn: values, gradients, dtypes, errors, and the ways autograd is used."""
import copy
import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="no PyTorch")

import lossd  # noqa: E402
import lossd.torch as ours  # noqa: E402
from torch.nn import functional as theirs  # noqa: E402

EPSILON = {torch.float64: 1e-12, torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
HAS = {row["name"] for row in lossd._core.catalogue()["losses"]}


def needs(name):
    return pytest.mark.skipif(name not in HAS, reason=f"this version of lossd has no loss {name}")


def close(a, b, dtype, message):
    assert a.dtype == b.dtype and a.shape == b.shape, f"{message}: {a.dtype} {a.shape}, {b.dtype} {b.shape}"
    a, b = a.detach().double(), b.detach().double()
    same = torch.isclose(a, b, rtol=EPSILON[dtype], atol=EPSILON[dtype]) | (a.isnan() & b.isnan())
    assert same.all(), f"{message}: {a} and {b}"


def compare(function, reference, input, *arguments, message="", **keywords):
    """Both losses and gradients, with a gradient from above that is not 1."""
    a, b = input.detach().clone().requires_grad_(), input.detach().clone().requires_grad_()
    x, y = function(a, *arguments, **keywords), reference(b, *arguments, **keywords)
    close(x, y, input.dtype, f"loss {message}")
    factor = torch.linspace(0.5, 2, y.numel(), dtype=y.dtype).reshape(y.shape)
    x.backward(factor)
    y.backward(factor)
    close(a.grad, b.grad, input.dtype, f"gradient {message}")


SHAPES = [(5,), (6, 5), (2, 5, 3), (2, 5, 3, 2), (0, 5), (2, 5, 0)]


@pytest.mark.parametrize("dtype", list(EPSILON), ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cross_entropy_over_the_grid(rng, dtype, shape):
    classes = shape[0] if len(shape) == 1 else shape[1]
    labels_shape = () if len(shape) == 1 else (shape[0], *shape[2:])
    input = torch.tensor(rng.standard_normal(shape)).to(dtype)
    labels = torch.tensor(rng.integers(0, classes, labels_shape))
    ignored = labels.clone()
    if ignored.dim() > 0 and ignored.numel() > 1:
        ignored.view(-1)[::2] = 3
    soft = torch.softmax(torch.tensor(rng.standard_normal(shape)), 0 if len(shape) == 1 else 1).to(dtype)
    weight = torch.tensor(rng.uniform(0.5, 2, classes)).to(dtype)
    for reduction, w, smoothing in itertools.product(
            ("mean", "sum", "none"), (None, weight), (0.0, 0.1)):
        for target, ignore in ((labels, -100), (ignored, 3), (soft, -100)):
            keywords = dict(weight=w, ignore_index=ignore, reduction=reduction, label_smoothing=smoothing)
            compare(ours.cross_entropy, theirs.cross_entropy, input, target,
                    message=f"{reduction} {w is not None} {smoothing} {ignore} {target.dtype}", **keywords)


@pytest.mark.parametrize("dtype", list(EPSILON), ids=str)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_nll(rng, dtype, reduction):
    for shape in ((6, 5), (2, 5, 3)):
        input = torch.log_softmax(torch.tensor(rng.standard_normal(shape)), 1).to(dtype)
        target = torch.tensor(rng.integers(0, 5, (shape[0], *shape[2:])))
        weight = torch.tensor(rng.uniform(0.5, 2, 5)).to(dtype)
        for w, ignore in ((None, -100), (weight, 2)):
            compare(ours.nll_loss, theirs.nll_loss, input, target, weight=w, ignore_index=ignore,
                    reduction=reduction)


ELEMENTS = {
    "mse_loss": ("squared_error", [{}]),
    "l1_loss": ("absolute_error", [{}]),
    "huber_loss": ("huber", [{}, {"delta": 0.3}]),
    "smooth_l1_loss": ("smooth_l1", [{}, {"beta": 0.3}, {"beta": 0.0}]),
    "binary_cross_entropy_with_logits": ("binary_cross_entropy", [{}, {"pos_weight": "last"}]),
    "poisson_nll_loss": ("poisson_nll", [{}, {"full": True}]),
    "kl_div": ("kl_divergence", [{}, {"log_target": True}]),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name, case", [
    pytest.param(name, case, marks=needs(loss), id=f"{name}{case}")
    for name, (loss, cases) in ELEMENTS.items() for case in cases])
def test_losses_over_elements(rng, name, case, dtype):
    for shape in ((), (4,), (3, 5), (2, 3, 4), (0, 3)):
        input = torch.tensor(rng.standard_normal(shape)).to(dtype)
        target = torch.tensor(rng.uniform(0.05, 0.95, shape)).to(dtype)
        keywords = dict(case)
        if "pos_weight" in keywords:
            keywords["pos_weight"] = torch.tensor(rng.uniform(0.5, 2, shape[-1:])).to(dtype)
        # A row of kl_div has one value.
        for reduction in ("mean", "sum") if name == "kl_div" else ("mean", "sum", "none"):
            compare(getattr(ours, name), getattr(theirs, name), input, target, reduction=reduction,
                    message=f"{shape} {reduction}", **keywords)


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_targets_are_broadcast(rng):
    input = torch.tensor(rng.standard_normal((4, 3)))
    compare(ours.mse_loss, theirs.mse_loss, input, torch.tensor(rng.standard_normal(3)))
    compare(ours.mse_loss, theirs.mse_loss, input, torch.tensor(rng.standard_normal((2, 4, 3))))


@needs("binary_cross_entropy")
def test_weights_of_elements(rng):
    input, target = torch.tensor(rng.standard_normal((4, 3))), torch.tensor(rng.uniform(0, 1, (4, 3)))
    for shape in ((4, 3), (3,), (4, 1)):
        compare(ours.binary_cross_entropy_with_logits, theirs.binary_cross_entropy_with_logits, input,
                target, weight=torch.tensor(rng.uniform(0.5, 2, shape)))


@needs("gaussian_nll")
def test_gaussian_nll_has_both_gradients(rng):
    for shape in ((4, 3), (4, 1), (4,)):
        inputs = []
        for function in (ours.gaussian_nll_loss, theirs.gaussian_nll_loss):
            generator = np.random.default_rng(5)
            x = torch.tensor(generator.standard_normal((4, 3)), requires_grad=True)
            v = torch.tensor(generator.uniform(0.5, 2, shape), requires_grad=True)
            value = function(x, torch.tensor(generator.standard_normal((4, 3))), v, full=True)
            (value * 3).backward()
            inputs.append((value, x.grad, v.grad))
        for a, b in zip(*inputs):
            close(a, b, torch.float64, shape)


MODULES = {
    "CrossEntropyLoss": ("softmax", dict(label_smoothing=0.1, ignore_index=2)),
    "NLLLoss": ("nll", dict(ignore_index=2)),
    "MSELoss": ("squared_error", dict(reduction="sum")),
    "L1Loss": ("absolute_error", {}),
    "HuberLoss": ("huber", dict(delta=0.5)),
    "SmoothL1Loss": ("smooth_l1", dict(beta=0.5)),
    "BCEWithLogitsLoss": ("binary_cross_entropy", {}),
    "PoissonNLLLoss": ("poisson_nll", dict(full=True)),
    "KLDivLoss": ("kl_divergence", dict(reduction="batchmean")),
    "MultiMarginLoss": ("multi_margin", dict(margin=0.5)),
}


@pytest.mark.parametrize("name, keywords", [
    pytest.param(name, keywords, marks=needs(loss), id=name)
    for name, (loss, keywords) in MODULES.items()])
def test_modules_are_those_of_torch(rng, name, keywords):
    module, reference = getattr(ours, name)(**keywords), getattr(torch.nn, name)(**keywords)
    assert isinstance(module, getattr(torch.nn, name)) and repr(module) == repr(reference)
    input = torch.log_softmax(torch.tensor(rng.standard_normal((6, 5))), 1)
    labels = name in ("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss")
    target = torch.tensor(rng.integers(0, 5, 6) if labels else rng.uniform(0, 1, (6, 5)))
    compare(module, reference, input, target)
    assert copy.deepcopy(module).state_dict().keys() == reference.state_dict().keys()


def test_any_loss_has_a_gradient(rng):
    input = torch.tensor(rng.standard_normal((6, 5)), requires_grad=True)
    labels = torch.tensor(rng.integers(0, 5, 6))
    module = ours.Loss(lossd.Softmax(reduction="batch"))
    value = module(input, labels)
    value.backward()
    other = input.detach().clone().requires_grad_()
    (theirs.cross_entropy(other, labels, reduction="sum") / 6).backward()
    close(input.grad, other.grad, torch.float64, "")


def test_permuted_inputs_keep_their_strides(rng):
    for make in (lambda: torch.tensor(rng.standard_normal((2, 5, 3, 4))).to(
            memory_format=torch.channels_last), lambda: torch.tensor(rng.standard_normal((2, 7, 5)))
            .transpose(1, 2)):
        input = make()
        target = torch.tensor(rng.integers(0, 5, (input.shape[0], *input.shape[2:])))
        compare(ours.cross_entropy, theirs.cross_entropy, input, target)
        compare(ours.cross_entropy, theirs.cross_entropy, input, target, reduction="none")
        compare(ours.mse_loss, theirs.mse_loss, input, torch.zeros(input.shape, dtype=input.dtype))
        leaf = input.detach().requires_grad_()
        ours.cross_entropy(leaf, target).backward()
        assert leaf.grad.stride() == input.stride()


def test_slices_are_copied(rng):
    input = torch.tensor(rng.standard_normal((4, 6, 5)))[:, :-1].transpose(1, 2)
    target = torch.tensor(rng.integers(0, 5, (4, 6)))[:, 1:]
    compare(ours.cross_entropy, theirs.cross_entropy, input, target)


def test_a_gradient_of_one_costs_no_array(rng):
    input = torch.tensor(rng.standard_normal((4, 5)), requires_grad=True)
    hidden = input * 1
    gradients = []
    hidden.register_hook(lambda g: gradients.append(g.data_ptr()))
    value = ours.cross_entropy(hidden, torch.tensor([0, 1, 2, 3]), inplace=True)
    value.backward()
    assert gradients == [hidden.data_ptr()]


def test_inplace_is_noticed_by_whoever_needs_the_input(rng):
    input = torch.tensor(rng.standard_normal((4, 5)), requires_grad=True)
    hidden = input.exp()  # needs its result
    value = ours.cross_entropy(hidden, torch.tensor([0, 1, 2, 3]), inplace=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.backward()


def test_backward_may_come_again_where_the_graph_is_retained(rng):
    input = torch.tensor(rng.standard_normal((4, 5)), requires_grad=True)
    target = torch.tensor([0, 1, 2, 3])
    value = ours.cross_entropy(input, target) * 3
    first, = torch.autograd.grad(value, input, retain_graph=True)
    kept = first.clone()
    second, = torch.autograd.grad(value, input)
    assert torch.equal(kept, second) and torch.equal(first, kept)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(value, input)


def test_gradients_accumulate(rng):
    input = torch.tensor(rng.standard_normal((4, 5)), requires_grad=True)
    target = torch.tensor([0, 1, 2, 3])
    for _ in range(3):
        (ours.cross_entropy(input, target) / 3).backward()
    other = input.detach().clone().requires_grad_()
    theirs.cross_entropy(other, target).backward()
    close(input.grad, other.grad, torch.float64, "")


def test_scaled_gradients_of_float16_do_not_underflow(rng):
    input = torch.full((4096, 8), 0.0, dtype=torch.float16)
    target = torch.zeros(4096, dtype=torch.long)
    small, kept = (input.clone().requires_grad_() for _ in range(2))
    (ours.cross_entropy(small, target).float() * 2.0**-12 * 65536.0).backward()
    (ours.cross_entropy(kept, target, gradient_scale=16.0).float() * 2.0**-12 * 65536.0).backward()
    wanted = (1 / 8) / 4096 * 16
    assert kept.grad[0, 1].item() == pytest.approx(wanted, rel=1e-3)
    assert abs(small.grad[0, 1].item() - wanted) >= abs(kept.grad[0, 1].item() - wanted)


def test_denominator(rng):
    input = torch.tensor(rng.standard_normal((6, 5)))
    target = torch.tensor([0, 1, -100, 2, 3, -100])
    compare(lambda x: ours.cross_entropy(x, target, denominator=7.0),
            lambda x: theirs.cross_entropy(x, target, reduction="sum") / 7, input)


def test_autocast(rng):
    input = torch.tensor(rng.standard_normal((6, 5))).bfloat16()
    target = torch.tensor([0, 1, 2, 3, 4, 0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ours.cross_entropy(input, target).dtype == torch.float32
        assert theirs.cross_entropy(input, target).dtype == torch.float32


def test_without_a_gradient_none_is_computed(rng, monkeypatch):
    asked = []
    compute = lossd.Client.compute
    monkeypatch.setattr(lossd.Client, "compute", lambda *a, gradient, **k: (
        asked.append(gradient), compute(*a, gradient=gradient, **k))[1])
    input = torch.tensor(rng.standard_normal((4, 5)), requires_grad=True)
    target = torch.tensor([0, 1, 2, 3])
    with torch.no_grad():
        ours.cross_entropy(input, target)
    ours.cross_entropy(input.detach(), target)
    ours.cross_entropy(input, target)
    assert asked == [False, False, True]


def test_the_gradient_is_that_of_differences(rng):
    input = torch.tensor(rng.standard_normal((4, 5)), requires_grad=True)
    target = torch.tensor([0, 1, 2, 3])
    assert torch.autograd.gradcheck(lambda x: ours.cross_entropy(x, target, label_smoothing=0.1), input)


def what_cannot_be_had():
    x = torch.zeros(4, 5, dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0, 1, 2, 3])

    def second():
        first, = torch.autograd.grad(ours.cross_entropy(x, y), x, create_graph=True)
        torch.autograd.grad(first.sum(), x)

    def forward():
        with torch.autograd.forward_ad.dual_level():
            ours.cross_entropy(torch.autograd.forward_ad.make_dual(x, torch.ones_like(x)), y)

    yield "second derivatives", second
    yield "forward mode", forward
    yield "torch.func", lambda: torch.func.grad(lambda z: ours.cross_entropy(z, y))(x.detach())
    yield "soft targets", lambda: ours.cross_entropy(x, torch.full((4, 5), 0.2, requires_grad=True))
    yield "weights", lambda: ours.cross_entropy(x, y, torch.ones(5, requires_grad=True))
    yield "regression targets", lambda: ours.mse_loss(x, torch.ones(4, 5, requires_grad=True))
    yield "ignored soft targets", lambda: ours.cross_entropy(
        x, torch.full((4, 5), 0.2, dtype=torch.float64), ignore_index=1)


@pytest.mark.parametrize("case", list(what_cannot_be_had()), ids=lambda case: case[0])
def test_what_cannot_be_had_raises(case):
    with pytest.raises(RuntimeError):
        case[1]()


@pytest.mark.parametrize("call, error", [
    (lambda: ours.cross_entropy(torch.zeros(4, 5), torch.tensor([0, 1, 2, 5])), IndexError),
    (lambda: ours.cross_entropy(torch.zeros(4, 5), torch.tensor([0, 1, 2])), ValueError),
    (lambda: ours.cross_entropy(torch.zeros(4, 5), torch.zeros(4).long(), reduction="x"), ValueError),
    (lambda: ours.cross_entropy(torch.zeros(4, 5), torch.zeros(4).long(), label_smoothing=1.5),
     ValueError),
])
def test_errors(call, error):
    with pytest.raises(error):
        call()


def test_training_by_a_service_and_here_ends_with_the_same_bits(server):
    def train(target):
        torch.manual_seed(3)
        with lossd.connect(target) as client:
            model = torch.nn.Sequential(torch.nn.Linear(20, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
            optimizer = torch.optim.SGD(model.parameters(), 0.1)
            loss = ours.CrossEntropyLoss(client=client)
            first = None
            for _ in range(30):
                x = torch.randn(16, 20)
                value = loss(model(x), x[:, :10].argmax(1))
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
                first = first or value.item()
            return first, value.item(), torch.cat([p.detach().flatten() for p in model.parameters()])

    a, b = train("local"), train(server)
    assert a[:2] == b[:2] and torch.equal(a[2], b[2]) and a[1] < a[0]
