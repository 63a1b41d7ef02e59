import jax
import pytest

from jaxdl.training.parallel import data_parallel, fully_sharded


def test_equal_arguments_make_equal_layouts():
    assert data_parallel() == data_parallel(1) == data_parallel(jax.devices()[:1])
    assert hash(data_parallel()) == hash(data_parallel(1))
    assert data_parallel(parameters=fully_sharded(where=["*"])) == data_parallel(parameters=fully_sharded(where=("*",)))
    assert data_parallel() != data_parallel(examples="sharded")
    assert data_parallel().examples == "replicated"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data_parallel(0), "devices: expected a whole number >= 1; got 0. None takes all."),
        (
            lambda: data_parallel(99),
            r"devices: expected at most the \d+ there are; got 99\. On CPU, "
            r"XLA_FLAGS=--xla_force_host_platform_device_count=99, set before jax starts, makes as many",
        ),
        (lambda: data_parallel([]), r"devices: expected at least one, each once; got \[\]"),
        (lambda: data_parallel(jax.devices()[:1] * 2), "devices: expected at least one, each once; got .* None takes"),
        (lambda: data_parallel(examples="split"), "examples: expected 'replicated', 'sharded' or None; got 'split'"),
    ],
)
def test_devices_that_there_are_not(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_rule_that_is_none():
    with pytest.raises(TypeError, match=r"parameters: expected None or what fully_sharded\(\.\.\.\) returns; got type"):
        data_parallel(parameters=dict)  # type: ignore[arg-type]
