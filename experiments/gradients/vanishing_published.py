"""Published and sampled figures of Nielsen's chapter 5: gradient norms on the first 1,000 MNIST images."""

# {hidden layers: a row a layer: mean, standard deviation, p5, p95 over 200 sampled starts}
BANDS = {
    1: [(0.298, 0.0645, 0.198, 0.427)],
    2: [(0.0596, 0.0152, 0.0364, 0.0865), (0.290, 0.0604, 0.204, 0.385)],
    3: [(0.0124, 0.0035, 0.0076, 0.0181), (0.0604, 0.0145, 0.0377, 0.0881), (0.306, 0.0602, 0.219, 0.418)],
    4: [
        (0.0026, 0.0008, 0.0013, 0.0039),
        (0.0125, 0.0036, 0.0073, 0.0189),
        (0.0622, 0.0160, 0.0396, 0.0906),
        (0.307, 0.0648, 0.211, 0.412),
    ],
}

# {hidden layers: lowest and highest accepted median of the ratio last/first, ratio of the book's single run}
MEDIAN_RATIOS = {2: (4.4, 5.6, 4.70), 3: (20.5, 29.0, 23.9), 4: (97.0, 150.0, 95.8)}

# {hidden layers: accepted mean of the geometric mean over 500 epochs of last/first, that of the book's single run}
GEOMETRIC_MEANS = {2: (1.3, 2.0, 1.99), 3: (8.0, 14.0, 16.7), 4: (72.0, 108.0, 75.0)}

# Ratio last/first with four hidden layers after 499 epochs: accepted mean, the book's single run.
LATE_RATIO = (100.0, 150.0, 113.0)

# {hidden layers: {epoch: norms of the layers in the book's stored run}}
STORED = {
    2: {
        0: (0.0657, 0.309),
        10: (0.00893, 0.0404),
        50: (0.00102, 0.00134),
        100: (0.00149, 0.00186),
        200: (0.00208, 0.00337),
        300: (0.00249, 0.00517),
        499: (0.00343, 0.00963),
    },
    3: {
        0: (0.0118, 0.0600, 0.283),
        10: (0.00200, 0.0104, 0.0596),
        50: (8.5e-5, 0.000326, 0.00160),
        100: (8.05e-5, 0.000281, 0.00138),
        200: (8.21e-5, 0.000257, 0.00135),
        300: (8.51e-5, 0.000241, 0.00132),
        499: (8.56e-5, 0.000218, 0.00126),
    },
    4: {
        0: (0.00298, 0.0171, 0.0695, 0.285),
        10: (2.66e-4, 0.00147, 0.00840, 0.0366),
        50: (2.06e-5, 4.80e-5, 2.47e-4, 0.00104),
        100: (1.83e-5, 4.24e-5, 2.22e-4, 9.60e-4),
        200: (1.50e-5, 3.75e-5, 2.10e-4, 9.50e-4),
        300: (1.23e-5, 3.32e-5, 2.00e-4, 9.41e-4),
        499: (8.21e-6, 2.61e-5, 1.83e-4, 9.25e-4),
    },
}
