"""Recurrent cells and attention in NumPy, one example and one step at a time, straight from the papers."""

import numpy as np

GATES = "ifgo"


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def simple(params, h, x, f=np.tanh):
    return f(x @ params["i"]["kernel"] + params["i"]["bias"] + h @ params["h"]["kernel"])


def lstm(params, c, h, x):
    z = {k: x @ params["i" + k]["kernel"] + h @ params["h" + k]["kernel"] + params["h" + k]["bias"] for k in GATES}
    c = sigmoid(z["f"]) * c + sigmoid(z["i"]) * np.tanh(z["g"])
    return c, sigmoid(z["o"]) * np.tanh(c)


def gru(params, h, x):
    r = sigmoid(x @ params["ir"]["kernel"] + params["ir"]["bias"] + h @ params["hr"]["kernel"])
    z = sigmoid(x @ params["iz"]["kernel"] + params["iz"]["bias"] + h @ params["hz"]["kernel"])
    recurrent = h @ params["hn"]["kernel"] + params["hn"]["bias"]
    n = np.tanh(x @ params["in"]["kernel"] + params["in"]["bias"] + r * recurrent)
    return (1 - z) * n + z * h


def normalized(a, gain, epsilon=1e-5):
    mean = sum(a) / len(a)
    variance = sum((a - mean) ** 2) / len(a)
    return gain * (a - mean) / np.sqrt(variance + epsilon)


def layer_norm_simple(params, h, x):
    """Ba et al. 2016, equation 4."""
    a = h @ params["h"]["kernel"] + x @ params["i"]["kernel"]
    return np.tanh(normalized(a, params["norm"]["scale"]) + params["norm"]["bias"])


def layer_norm_lstm(params, c, h, x):
    """Ba et al. 2016, equations 20 to 22."""
    a = normalized(h @ params["h"]["kernel"], params["norm_h"]["scale"])
    a = a + normalized(x @ params["i"]["kernel"], params["norm_i"]["scale"]) + params["norm_i"]["bias"]
    f, i, o, g = np.split(a, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return c, sigmoid(o) * np.tanh(normalized(c, params["norm_c"]["scale"]) + params["norm_c"]["bias"])


def layer_norm_gru(params, h, x):
    """Ba et al. 2016, supplement; z is the share of the old state."""
    a = normalized(h @ params["h"]["kernel"], params["norm_h"]["scale"])
    a = a + normalized(x @ params["i"]["kernel"], params["norm_i"]["scale"]) + params["norm_i"]["bias"]
    r, z = np.split(sigmoid(a), 2)
    recurrent = normalized(h @ params["hn"]["kernel"], params["norm_hn"]["scale"]) + params["norm_hn"]["bias"]
    new = normalized(x @ params["in"]["kernel"], params["norm_in"]["scale"]) + params["norm_in"]["bias"]
    n = np.tanh(r * recurrent + new)
    return (1 - z) * n + z * h


def weight_norm(params, gains):
    """The kernels g v / |v|, column by column, of a cell's directions and gains."""
    kernels = {}
    for name, leaves in params.items():
        v = leaves["kernel"]
        g = gains[f"cell/{name}/kernel/scale"]
        columns = [g[j] * v[:, j] / np.sqrt((v[:, j] ** 2).sum()) for j in range(v.shape[1])]
        kernels[name] = {**leaves, "kernel": np.stack(columns, 1)}
    return kernels


def sequence(step, states, xs):
    """Outputs of `step(*states, x) -> states`, or one state, of one sequence; the last state is the output."""
    outputs = []
    for x in xs:
        states = step(*states, x)
        states = states if isinstance(states, tuple) else (states,)
        outputs.append(states[-1])
    return np.array(outputs), states


def softmax(scores):
    powers = np.exp(scores - max(scores))
    return powers / sum(powers)


def additive_attention(params, query, memory):
    """Bahdanau et al. 2015, appendix A.1.2: e_j = v^T tanh(W s + U h_j); memory of the steps that count only."""
    scores = []
    for h in memory:
        hidden = np.tanh(query @ params["query"]["kernel"] + h @ params["key"]["kernel"])
        scores.append(hidden @ params["score"]["kernel"][:, 0])
    weights = softmax(np.array(scores))
    return sum(w * h for w, h in zip(weights, memory, strict=True)), weights


def dot_attention(query, memory, kernel=None):
    """Luong et al. 2015, equation 8: score = h_t^T h_s, or h_t^T W h_s ("general")."""
    scores = np.array([query @ (h if kernel is None else h @ kernel) for h in memory])
    weights = softmax(scores)
    return sum(w * h for w, h in zip(weights, memory, strict=True)), weights
