"""The networks of the experiment `ensembles`: trained a whole ensemble at a time, and evaluated on the test split."""

from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxdl
from experiments.harness.claims import Run
from jaxdl import procedures, regularizers, training
from jaxdl.data import Examples

MEMBERS, MC_PASSES, FIRST_STEPS = 5, 50, 20
WIDTH, BATCH, RATE = {"digits": 32, "mnist": 128}, {"digits": 32, "mnist": 64}, {"digits": 0.003, "mnist": 0.001}
DROPOUT = 0.5


class Timing(NamedTuple):
    """One program against single runs.

    Attributes:
      together, alone: seconds, compilation aside.
      one_program: whether all members advanced at once.
      alike: of each member, whether its first losses are those of the single run.
      compared: how many.
    """

    together: float
    alone: float
    one_program: bool
    alike: np.ndarray
    compared: int


class Networks:
    """Trains by the run's settings; an ensemble is its stacked variables."""

    def __init__(self, run: Run) -> None:
        self.run, dataset = run, run.dataset
        images = run.settings["images"][dataset]
        x, y = run.splits.train
        self.train = jax.device_put(Examples(x[:images], y[:images]))
        self.epochs: int = run.settings["epochs"][dataset]
        self.batch, self.tx = BATCH[dataset], optax.adam(RATE[dataset])
        self.model = self._model(0.0)
        half = len(self.train.x) // self.batch * self.epochs // 2
        self.step = self._step(self.model, training.polyak(start=half))
        self._averages: list[Any] = []
        self._histories: list[training.History] = []

    @cached_property
    def test(self) -> Examples:
        """On the device once."""
        return jax.device_put(self.run.splits.test)

    def seeded(self) -> list[Any]:
        """The ensembles of different seeds."""
        found = [self._ensemble(k) for k in range(self.run.seeds)]
        self._histories = [each.runs.history for each in found]
        self._averages = [self._averaged(each) for each in found]
        best = np.mean([history.run_seconds for history in self._histories])
        print(f"  {self.run.seeds} ensembles of {MEMBERS}, each as one program: {best:.1f} s each")
        return [each.variables for each in found]

    def bagged(self) -> list[Any]:
        """The ensembles of different seeds and bootstrap samples."""
        return [self._ensemble(k, bagging=True).variables for k in range(self.run.seeds)]

    def trained_on(self, ensembles: list[Any]) -> list[Any]:
        """Of each ensemble its first member, trained on for a quarter of the epochs in as many different orders."""
        step, found = self._step(self.model), []
        for k, variables in enumerate(ensembles):
            params = jax.tree.map(lambda leaf: leaf[0], variables["params"])
            init = lambda key, params=params: training.make_state(params, self.tx, key=key)  # noqa: E731
            epochs = max(1, self.epochs // 4)
            found.append(self._train(step, init, _seeds(k), epochs).variables)
        return found

    def with_dropout(self) -> Any:
        """Networks trained with dropout, stacked."""
        model = self._model(DROPOUT)
        init = lambda key: training.init_state(model, self.tx, self.train.x[:1], key=key)  # noqa: E731
        seeds = range(self.run.settings["dropout_networks"])
        return self._train(self._step(model), init, seeds, 2 * self.epochs).variables

    def timing(self) -> Timing:
        """The first ensemble against its members alone."""
        history, alone, alike = self._histories[0], 0.0, []
        for i, seed in enumerate(_seeds(0)):
            single = training.fit(
                self.step, self._init(jax.random.key(seed)), self.train, epochs=self.epochs, batch_size=self.batch,
                progress=False,
            ).history  # fmt: skip
            alone += single.run_seconds
            pair = (history.train["loss"][i, :FIRST_STEPS], single.train["loss"][:FIRST_STEPS])
            alike.append(np.allclose(*pair, rtol=0.01))
        one_program = history.engine.startswith("vmap") and len(history.train["loss"]) == MEMBERS
        # The first ensemble's time may hold what a first call costs besides compilation; the median does not.
        together = float(np.median([each.run_seconds for each in self._histories]))
        return Timing(together, alone, one_program, np.array(alike), FIRST_STEPS)

    def report(self, variables: Any) -> procedures.EnsembleReport:
        """An ensemble on the test split."""
        return procedures.compare_members(self.model, variables, self.test)

    def weight_average(self, ensembles: list[Any]) -> np.ndarray:
        """Test accuracy in percent of the mean weights of each ensemble."""
        return np.array([self._accuracy(procedures.average_weights(variables)) for variables in ensembles])

    def trajectory_average(self, ensembles: list[Any]) -> np.ndarray:
        """Mean test accuracy in percent of the members of each ensemble, the weights of each averaged over its run."""
        assert len(self._averages) == len(ensembles)
        return np.array([100 * self.report(variables).member_accuracies.mean() for variables in self._averages])

    def by_size(self, ensembles: list[Any]) -> np.ndarray:
        """Negative log-likelihood, in nats, of the first 1, 2, ... of all networks together."""
        everyone = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *ensembles)
        total, log_average = MEMBERS * len(ensembles), procedures.log_average_probabilities
        metrics = {
            f"{m}": lambda z, y, m=m: jaxdl.losses.softmax_cross_entropy(log_average(z[:m]), y)
            for m in range(1, total + 1)
        }
        apart = procedures.ensemble_model(self.model, total, combine=lambda outputs: outputs)
        found = training.evaluate(
            training.supervised(apart, metrics[f"{total}"], metrics=metrics), procedures.as_state(everyone), self.test
        )
        return np.array([found[f"{m}"] for m in range(1, total + 1)])

    def dropout_differences(self, stacked: Any, passes: int) -> np.ndarray:
        """Test accuracy in percent of the mean over masks less that of weight scaling, of every network."""
        model = jaxdl.as_model(self._model(DROPOUT))

        def apply(params: Any, x: Any) -> Any:
            mean, _ = regularizers.mc_predict(
                model, {"params": params}, x, key=jax.random.key(0), num_samples=passes, transform=jax.nn.softmax
            )
            return jnp.log(mean)

        count = len(jax.tree.leaves(stacked)[0])
        sampled = self._classifier((lambda key, x: model.init(key, x)["params"], apply))
        scaled = self._classifier(model)
        differences = []
        for i in range(count):
            state = procedures.as_state(jax.tree.map(lambda leaf, i=i: leaf[i], stacked))
            pair = [training.evaluate(objective, state, self.test)["accuracy"] for objective in (sampled, scaled)]
            differences.append(100 * (pair[0] - pair[1]))
        return np.array(differences)

    def _model(self, rate: float) -> Any:
        width = WIDTH[self.run.dataset]
        return jaxdl.models.MLP((width, width, 10), kernel_init=jaxdl.initializers.he_normal(), dropout_rate=rate)

    def _classifier(self, model: Any) -> Any:
        return training.supervised(
            model, jaxdl.losses.softmax_cross_entropy, metrics={"accuracy": jaxdl.losses.correct}
        )

    def _step(self, model: Any, average: Any = None) -> training.TrainStep:
        return training.make_train_step(self._classifier(model), self.tx, average=average)

    def _init(self, key: jax.Array) -> training.TrainState:
        return training.init_state(self.model, self.tx, self.train.x[:1], key=key, average=True)

    def _ensemble(self, k: int, *, bagging: bool = False) -> procedures.Ensemble:
        return self._train(self.step, self._init, _seeds(k), self.epochs, bagging=bagging)

    def _train(self, step: Any, init: Any, seeds: range, epochs: int, *, bagging: bool = False) -> procedures.Ensemble:
        return procedures.train_ensemble(
            step, init, self.train, seeds=seeds, bagging=bagging, epochs=epochs, batch_size=self.batch, mode="vmap",
            progress=False,
        )  # fmt: skip

    def _averaged(self, found: procedures.Ensemble) -> Any:
        states = [training.member(found.runs.states, i) for i in range(MEMBERS)]
        each = [{"params": training.averaged(replace(state, opt_state=())).params} for state in states]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)

    @cached_property
    def _objective(self) -> Any:
        return self._classifier(self.model)

    def _accuracy(self, variables: Any) -> float:
        return 100 * training.evaluate(self._objective, procedures.as_state(variables), self.test)["accuracy"]


def _seeds(k: int) -> range:
    return range(MEMBERS * k, MEMBERS * (k + 1))
