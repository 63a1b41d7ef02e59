"""Compiled programs kept from one process to the next, by JAX's persistent cache."""

import os
from pathlib import Path

import jax


def keep_compiled_programs(folder: str | Path | None = None) -> Path:
    """Turns JAX's persistent cache of compiled programs on, for small programs too, for the rest of the process.

    By itself the cache passes over what compiles in under a second, which most of our programs do; and switched on
    after a first program was compiled, it would stay off. A second process then only traces its programs, and starts
    several times sooner. Programs are found by their content, the versions of jax and XLA and the machine; an old
    folder does no harm but takes room, and may be deleted at any time.

    Args:
      folder: where programs are kept. None: where `JAX_COMPILATION_CACHE_DIR` or the configuration of jax says;
        without these `jaxdl/compiled` in `XDG_CACHE_HOME`, or in `~/.cache`. Programs in it are run: share it with
        nobody you do not trust.

    Returns:
      The folder.

    Raises:
      ValueError: the folder can't be made or written to.
    """
    configured = jax.config.values["jax_compilation_cache_dir"] if folder is None else folder
    path = Path(configured or _default()).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(path, str(error)) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise _unusable(path, "one without permission to write")
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    from jax.experimental.compilation_cache import compilation_cache

    # Whether there is a cache is settled when the first program is compiled, and then once more after this.
    compilation_cache.reset_cache()
    return path


def _default() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxdl" / "compiled"


def _unusable(path: Path, got: str) -> ValueError:
    return ValueError(
        f"folder: expected a folder for compiled programs that can be written to; got {got} ({path}). "
        "Name another one, or set JAX_COMPILATION_CACHE_DIR."
    )
