"""A network of dense layers where experiments have convolutions."""

import flax.linen as nn
import numpy as np


class Dense(nn.Module):
    """Dense layers where the experiment has convolutions: compiled in a tenth of the time."""

    names: tuple[str, ...]

    @nn.compact
    def __call__(self, x):
        x = x.reshape(x.shape[0], -1)
        for name in self.names:
            x = nn.relu(nn.Dense(4, kernel_init=nn.initializers.uniform(1.0), name=name)(x))
        return nn.Dense(5, kernel_init=nn.initializers.uniform(1.0), name="dense_1")(x)


def accuracy(params, names, examples):
    x = examples.x.reshape(len(examples.x), -1)
    for name in names:
        x = np.maximum(x @ np.asarray(params[name]["kernel"]) + np.asarray(params[name]["bias"])[None], 0)
    outputs = x @ np.asarray(params["dense_1"]["kernel"]) + np.asarray(params["dense_1"]["bias"])[None]
    return 100 * np.mean(outputs.argmax(1) == examples.y)
