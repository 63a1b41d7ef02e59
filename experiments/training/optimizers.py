"""Optimizers compared: unbiased mini-batches, paths on surfaces, Adam's comparison, and sensitivity to constants.

`python -m experiments optimizers`                    on the embedded digits
`python -m experiments optimizers --dataset mnist`    with Zeiler's table
"""

from collections.abc import Mapping
from typing import Any

from experiments.harness.claims import Experiment, Run
from experiments.training.adam_comparison import judge_adam
from experiments.training.mini_batches import judge_unbiasedness
from experiments.training.optimizer_paths import judge_paths
from experiments.training.rate_sensitivity import judge_sensitivity


def run(run: Run) -> None:
    """All four parts; each leaves its findings, records and figures."""
    judge_unbiasedness(run)
    judge_paths(run)
    judge_adam(run)
    judge_sensitivity(run)


_DEFAULT: Mapping[str, Any] = {
    "seeds": 5,
    "networks": True,
    "tuning_seeds": 2,
    "width": {"digits": 100, "mnist": 200},
    "adam_epochs": {"digits": (20, 20), "mnist": (10, 5)},
    "sensitivity_hidden": {"digits": (100, 50), "mnist": (500, 300)},
    "sensitivity_epochs": {"digits": 20, "mnist": 6},
}

EXPERIMENT = Experiment(
    name="optimizers",
    lecture="Fornax, McKay",
    claim="adaptive methods train faster and depend less on their constants; plain SGD is slow on saddles and valleys",
    setup="Mini-batches: gradients of logistic regression at a random start. Paths: on functions of two variables, "
    "from random starts. Adam's comparison: logistic regression and a network with two hidden ReLU layers, with and "
    "without dropout 0.5, batches of 128; in the logistic problem Adam and Nesterov's method decay their rates by "
    "1/sqrt(t). Every optimizer has the learning rate of a grid (factors of about 3) with the smallest mean training "
    "loss over seeds that are not judged; judged is the loss over the whole training set after the last epoch, dropout "
    "off. Sensitivity: hidden layers of 500 and 300 tanh units on MNIST (100 and 50 on digits), batches of 100 (20), 6 "
    "epochs (20), Glorot's start.",
    source="Kingma and Ba 2015, figures 1 and 2 (curves only); Zeiler 2012 (secondary: its tables are not quoted, as "
    "they could not be checked)",
    seconds={"digits": 60, "mnist": 1690},
    presets={
        "smoke": _DEFAULT
        | {
            "networks": False,
            "tuning_seeds": 1,
            "adam_epochs": {"digits": (5, 1), "mnist": (1, 1)},
            "sensitivity_hidden": {"digits": (20, 10), "mnist": (30, 20)},
            "sensitivity_epochs": {"digits": 10, "mnist": 1},
        },
        "default": _DEFAULT,
        "full": _DEFAULT
        | {
            "tuning_seeds": 1,
            "width": {"digits": 100, "mnist": 1000},
            "adam_epochs": {"digits": (40, 40), "mnist": (10, 10)},
        },
    },
    run=run,
    rows=("X18",),
)
