"""The report names what was planted, by path; says in one line what does not apply; and survives what raises."""

from xml.etree import ElementTree

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import training
from jaxdl.diagnostics import DIAGNOSTICS, NotApplicable, Thresholds, gradient_flow, report
from tests.diagnostics import networks


def written(tmp_path, network, **options):
    objective, params, batch, state = network
    return report(objective, params, batch, model_state=state, path=tmp_path / "report.html", **options)


def status(found):
    return {finding.name: finding.status for finding in found.findings}


def test_planted_illnesses_are_named(tmp_path):
    """All of them in one network, and every diagnostic at work: each is named by its path."""
    found = written(tmp_path, networks.sick())
    sentences = dict(line.split(": ", 1) for line in found.verdict().splitlines()[1:])
    assert "40 % of the units of half_dead are dead (4 of 10, relu)" in sentences["unit health"]
    assert "60 % of the units of saturated are saturated (6 of 10, tanh)" in sentences["unit health"]
    assert "the activation log of makes_nan makes NaN of finite pre-activations" in sentences["signal propagation"]
    assert "in the recurrence explodes a gradient grows x3 per step back" in sentences["gradients through time"]
    assert "exploding" in sentences["gradients through time"]
    assert "x0.001 in makes_nan -> head" in sentences["Jacobian singular values"]
    assert "gradient is not finite in 6 of 6 layers" in sentences["gradient flow"]
    assert set(sentences) == {name for name, _ in DIAGNOSTICS}
    assert found.verdict().startswith("12 sick, 1 not applicable\n")
    text = found.path.read_text("utf-8")
    for sentence in sentences.values():
        assert sentence.replace(">", "&gt;").replace("'", "&#x27;") in text


SIGNALS = DIAGNOSTICS[:6]  # those that go by the network's structure
ALWAYS = {"gradient flow", "signal propagation", "Jacobian singular values"}


@pytest.mark.parametrize(
    ("network", "further"),
    [
        (networks.mlp, {"unit health"}),
        (networks.cnn, {"unit health"}),
        (networks.resnet, {"unit health", "skip connections"}),
        (networks.rnn, {"gradients through time"}),
        pytest.param(networks.seq2seq, {"gradients through time", "unit health"}, marks=pytest.mark.slow),
    ],
)
def test_every_kind_of_network(tmp_path, network, further):
    found = written(tmp_path, network(), diagnostics=SIGNALS)
    applicable = ALWAYS | further
    assert set(found.results) == applicable
    missing = {name for name, kind in status(found).items() if kind == "none"}
    assert missing == {name for name, _ in SIGNALS} - applicable
    assert "failed" not in status(found).values()
    assert found.path == tmp_path / "report.html"
    for name in applicable:
        assert name in found.table()


def raises(objective, params, batch):
    raise RuntimeError("out of <luck>")


def test_what_raises_is_reported_and_the_page_goes_on(tmp_path):
    found = written(
        tmp_path, networks.mlp(), diagnostics=[("broken", raises), ("flow", gradient_flow)], title="mine & yours"
    )
    assert status(found) == {"broken": "failed", "flow": "healthy"}
    assert str(found) == f"{found.verdict()}\n{found.path}", "print(report) is for reading"
    assert "broken: RuntimeError: out of <luck>" in found.verdict()
    text = found.path.read_text("utf-8")
    assert "RuntimeError: out of &lt;luck&gt;" in text
    assert "mine &amp; yours" in text
    assert list(found.results) == ["flow"]


class Result:
    def __init__(self, sentence, given):
        self.sentence, self.given = sentence, given

    def verdict(self, thresholds):
        return f"{self.sentence} {thresholds.shrinks_per_layer:g}"

    def table(self):
        return "table"

    def plot(self, *, title):
        from matplotlib.figure import Figure

        return Figure(figsize=(1, 1))


@pytest.mark.parametrize(
    ("sentence", "kind"),
    [
        ("healthy", "healthy"),
        ("no dead units: healthy", "healthy"),
        ("a: exploding; b: healthy", "sick"),
        ("a: healthy; 3 dead units in b", "sick"),
        ("a: healthy; the gradient of the loss is not finite there", "sick"),
        ("units of deadline/banana: all in order", "measured"),
        ("largest eigenvalue 3", "measured"),
    ],
)
def test_a_verdict_is_judged_by_its_words(tmp_path, sentence, kind):
    found = written(tmp_path, networks.mlp(), diagnostics=[("one", lambda *_: Result(sentence, {}))])
    assert status(found) == {"one": kind}


def test_a_diagnostic_is_given_what_it_names(tmp_path):
    def some(objective, params, batch, *, key, train):
        return Result("", {"key": key, "train": train})

    def everything(objective, params, batch, **given):
        return Result("", given)

    chain = optax.sgd(0.1)
    found = written(
        tmp_path,
        networks.mlp(),
        diagnostics=[("some", some), ("all", everything)],
        train=False,
        tx=chain,
        thresholds=Thresholds(shrinks_per_layer=0.25),
    )
    assert found.results["some"].given["train"] is False
    assert set(found.results["all"].given) == {"model_state", "key", "train", "tx", "opt_state"}
    assert found.results["all"].given["tx"] is chain
    keys = [found.results[name].given["key"] for name in ("some", "all")]
    assert keys[0] != keys[1]
    assert "some:  0.25" in found.verdict()
    assert '<td class="number">0.25</td>' in found.path.read_text("utf-8")


def test_a_state_and_an_optimizer(tmp_path):
    objective, params, batch, _ = networks.mlp()
    chain = optax.sgd(0.5)
    state = training.make_state(params, chain, key=networks.jax.random.key(0))
    found = report(
        objective, state, batch, tx=chain, path=str(tmp_path / "new" / "folder" / "page.html"), diagnostics=SIGNALS[:1]
    )
    flow = found.results["gradient flow"]
    weights = np.array([np.linalg.norm(params[name]["kernel"]) for name in flow.layers])
    np.testing.assert_allclose(flow.update_to_weight, 0.5 * flow.weight_gradient / weights, rtol=1e-4)
    assert (tmp_path / "new" / "folder" / "page.html").exists()
    assert "119 in 6 arrays" not in found.path.read_text("utf-8")
    count = sum(leaf.size for leaf in networks.jax.tree.leaves(params))
    assert f"{count:,} in 6 arrays" in found.path.read_text("utf-8")


def test_errors(tmp_path):
    objective, params, batch, _ = networks.mlp()
    with pytest.raises(ValueError, match=r"path: expected a name that ends in \.html; got 'report'"):
        report(objective, params, batch, path="report")
    for diagnostics, got in (((), "none"), ((("a", raises), ("a", raises)), "a, a")):
        with pytest.raises(ValueError, match=f"diagnostics: expected at least one, each with a name .* got {got}"):
            report(objective, params, batch, path=tmp_path / "x.html", diagnostics=diagnostics)
    with pytest.raises(TypeError, match="objective: expected a function"):
        report(jnp.ones(2), params, batch, path=tmp_path / "x.html")  # type: ignore[arg-type]
    assert issubclass(NotApplicable, ValueError)


def test_a_notebook_shows_the_page_in_a_frame(tmp_path):
    found = written(tmp_path, networks.mlp(), diagnostics=DIAGNOSTICS[:1])
    shown = ElementTree.fromstring(found._repr_html_())
    assert shown.tag == "iframe"
    assert shown.attrib["srcdoc"] == found.path.read_text("utf-8").replace("\n", " ")  # as XML reads attributes
