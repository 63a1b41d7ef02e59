"""Ensembles: votes and averages of five networks, bagging, averages of weights, and Monte-Carlo dropout (X41).

`python -m experiments ensembles`                     on the embedded digits
`python -m experiments ensembles --dataset mnist`     on the first 10,000 images of MNIST; some minutes on two cores
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from experiments.generalization.ensemble_figures import ensembles_figure
from experiments.generalization.ensemble_networks import MC_PASSES, MEMBERS, Networks, Timing
from experiments.harness import rules
from experiments.harness.claims import Experiment, Run

GAIN, WORSE = 0.05, 0.5


class Measured(NamedTuple):
    """Test accuracies in percent, `(ensembles,)` but where it is said.

    Attributes:
      members: `(ensembles, members)`.
      together: of the average of probabilities.
      vote: of the majority.
      disagreement: of two members, in percent of the images.
      loss: mean over members of the negative log-likelihood, in nats.
    """

    members: np.ndarray
    together: np.ndarray
    vote: np.ndarray
    disagreement: np.ndarray
    loss: np.ndarray


def run(run: Run) -> None:
    """Trains all networks, then evaluates all of them on the test split."""
    networks = Networks(run)
    seeded, timing = networks.seeded(), networks.timing()
    bagged, soups, dropout = networks.bagged(), networks.trained_on(seeded), networks.with_dropout()
    seeds = measured(networks, seeded)
    bagging = measured(networks, bagged)
    weights = {
        "different starts": networks.weight_average(seeded),
        "one trajectory": networks.trajectory_average(seeded),
        "one trained start": networks.weight_average(soups),
    }
    averaged = {"one trained start": measured(networks, soups).members.mean(1)}
    judge_members(run, seeds, bagging)
    judge_program(run, timing)
    judge_weights(run, weights, {name: averaged.get(name, seeds.members.mean(1)) for name in weights})
    sampled = {passes: networks.dropout_differences(dropout, passes) for passes in (MC_PASSES, 1)}
    judge_dropout(run, sampled)
    for k in range(run.seeds):
        run.record(
            quantity="test_accuracy", seed=k, members=seeds.members[k].tolist(), average=seeds.together[k],
            vote=seeds.vote[k], disagreement=seeds.disagreement[k], bagged_members=bagging.members[k].tolist(),
            bagged_average=bagging.together[k], weights={name: values[k] for name, values in weights.items()},
        )  # fmt: skip
    caption = (
        "Left: members (dots), their mean and what they reach together, for each ensemble. Middle: negative "
        "log-likelihood against the number of members. Right: one network of averaged weights against the mean of the "
        "networks averaged."
    )
    by_size = networks.by_size(seeded)
    run.figure("ensembles", ensembles_figure(seeds, bagging, by_size, weights, averaged, run.dataset), caption)


def measured(networks: Networks, ensembles: list[Any]) -> Measured:
    """Every ensemble on the test split."""
    reports = [networks.report(variables) for variables in ensembles]
    return Measured(
        100 * np.array([report.member_accuracies for report in reports]),
        100 * np.array([report.accuracy for report in reports]),
        100 * np.array([report.vote_accuracy for report in reports]),
        100 * np.array([report.disagreement for report in reports]),
        np.array([report.member_losses.mean() for report in reports]),
    )


def judge_members(run: Run, seeds: Measured, bagging: Measured) -> None:
    """Together against alone, vote against average, bagging against seeds."""
    for name, found in (("seeds", seeds), ("bootstrap samples", bagging)):
        run.find(
            f"{MEMBERS} networks of different {name}, their probabilities averaged, beat their mean member",
            f"lower 95 % limit of the gain in test accuracy over independent ensembles above {GAIN:g} points",
            rules.exceeds(found.together - found.members.mean(1), GAIN, unit=" points"),
            published="99.60 to 99.67 % (Nielsen 2015, five convolutional networks, vote)" if name == "seeds" else "",
            remark=f"two members differ on {found.disagreement.mean():.2f} % of the images",
        )
    run.find(
        f"the majority vote of {MEMBERS} networks beats their mean member, too",
        f"lower 95 % limit of the gain above {GAIN:g} points",
        rules.exceeds(seeds.vote - seeds.members.mean(1), GAIN, unit=" points"),
    )
    margin = run.settings["margin"][run.dataset]
    run.find(
        "a vote is no better than the average of probabilities",
        f"upper 95 % limit of vote less average at most {margin:g} points",
        rules.at_most(seeds.vote - seeds.together, margin, unit=" points"),
    )
    run.find(
        "bagging is no better than different seeds alone: starts and orders differ enough, and all see all data",
        "upper 95 % limit of the bagged ensemble less the seeded one at most 0 points",
        rules.at_most(bagging.together - seeds.together, 0.0, unit=" points"),
        published="random starts on all data did better than bagging (Lakshminarayanan et al. 2017)",
    )


def judge_program(run: Run, timing: Timing) -> None:
    """One program, whose members are the single runs; what it takes against them."""
    together, alone = timing.together, timing.alone
    run.find(
        f"the {MEMBERS} members are trained by one program, each as alone",
        f"{MEMBERS} members at once by vmap, the losses of each member's first {timing.compared} steps within 1 % of "
        "the single run's",
        rules.every_seed(timing.alike if timing.one_program else np.zeros_like(timing.alike)),
        remark=f"{together:.2f} s for all {MEMBERS} as one program, {alone:.2f} s for {MEMBERS} single runs, "
        f"compilation aside: x{alone / together:.2f}",
    )


def judge_weights(run: Run, weights: Mapping[str, np.ndarray], means: Mapping[str, np.ndarray]) -> None:
    """Averaged weights work in one basin, and destroy networks of different starts."""
    claims = {
        "one trajectory": "the mean of the weights over the second half of a run is as good a network as the last",
        "one trained start": f"the mean weights of {MEMBERS} networks trained on from one trained network, in "
        "different orders, are as good a network as these",
        "different starts": f"negative control, the rule must fail: the mean weights of {MEMBERS} networks of "
        "different starts are as good a network as these",
    }
    for name, claim in claims.items():
        control = name == "different starts"
        result = rules.at_most(means[name] - weights[name], WORSE, unit=" points")
        remark = f"{weights[name].mean():.2f} % against {means[name].mean():.2f} %"
        run.find(
            claim,
            f"{'must fail: ' * control}upper 95 % limit of the loss of test accuracy at most {WORSE:g} points",
            result,
            control=control,
            remark=f"{remark}: their hidden units are permuted" if control and result.verdict == "FAIL" else remark,
        )


def judge_dropout(run: Run, differences: Mapping[int, np.ndarray]) -> None:
    """Weight scaling against the average over masks."""
    margin = run.settings["margin"][run.dataset]
    for passes, values in differences.items():
        control = passes == 1
        run.find(
            "negative control, the rule must fail: one pass with a dropout mask is as good as weight scaling"
            if control
            else f"the average of {passes} passes with dropout masks is as good as weight scaling, within "
            f"{margin:g} points",
            f"{'must fail: ' * control}90 % interval of the paired difference of test accuracies within +-{margin:g} "
            "points",
            rules.equivalent(values, margin, unit=" points"),
            published=""
            if control
            else "about 50 samples match weight scaling (Srivastava et al. 2014, figure 11, secondary)",
            control=control,
        )


EXPERIMENT = Experiment(
    name="ensembles",
    lecture="Fornax, McKay, ECE521",
    claim="networks that decide together beat their mean member; dropout's weight scaling is such an average",
    setup=f"Ensembles of {MEMBERS} perceptrons with two hidden layers of ReLUs, Adam at 0.001 (digits 0.003), batches "
    "of 64 (digits 32), nothing chosen; each ensemble is trained as one program, independent ones by other seeds. "
    "MNIST: the first 10,000 training images, 128 units, 8 epochs; digits: all 1,197, 32 units, 40 epochs. Compared on "
    "the test split, which nothing else sees: the average of probabilities, the majority vote, bagging (each member a "
    "bootstrap sample), the mean of the weights (of different starts, over the second half of each run, and of five "
    "runs trained on from one trained network for a quarter of the epochs), and, with dropout of half the hidden units "
    "and twice the epochs, 50 passes with masks against weight scaling.",
    source="Nielsen 2015, chapter 6; Srivastava et al. 2014, figure 11 (secondary); Izmailov et al. 2018",
    seconds={"digits": 40, "mnist": 55},
    presets={
        "smoke": {
            "seeds": 5, "epochs": {"digits": 8, "mnist": 1}, "images": {"digits": 600, "mnist": 2000},
            "dropout_networks": 5, "margin": {"digits": 0.5, "mnist": 0.2},
        },
        "default": {
            "seeds": 10, "epochs": {"digits": 40, "mnist": 8}, "images": {"digits": 1197, "mnist": 10000},
            "dropout_networks": 10, "margin": {"digits": 0.5, "mnist": 0.2},
        },
        "full": {
            "seeds": 20, "epochs": {"digits": 40, "mnist": 12}, "images": {"digits": 1197, "mnist": 50000},
            "dropout_networks": 20, "margin": {"digits": 0.5, "mnist": 0.1},
        },
    },
    run=run,
    rows=("X41",),
)  # fmt: skip
