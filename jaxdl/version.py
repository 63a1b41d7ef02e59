"""The version, on its own so that the build can read it without importing jax."""

VERSION = "0.1.0"
