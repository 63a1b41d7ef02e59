"""Compilation: a cache kept on disk, a guard against compiling anew, and compile seconds apart from run seconds."""

from jaxdl.training.compilation.cache import keep_compiled_programs as keep_compiled_programs
from jaxdl.training.compilation.guard import CompiledOnce as CompiledOnce
from jaxdl.training.compilation.guard import RecompilationError as RecompilationError
from jaxdl.training.compilation.guard import compiled_once as compiled_once
from jaxdl.training.compilation.stopwatch import RecompilationWarning as RecompilationWarning
from jaxdl.training.compilation.stopwatch import Stopwatch as Stopwatch

__all__ = [
    "RecompilationError",
    "RecompilationWarning",
    "compiled_once",
    "keep_compiled_programs",
]
