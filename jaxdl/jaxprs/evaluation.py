"""Evaluating traced programs with some equations replaced, across the versions of jax we support."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from jax.extend.core import Literal

# `rule(position, equation, arguments)` gives the outputs of an equation, or None for its ordinary meaning.
Rule = Callable[[int, Any, list[Any]], Sequence[Any] | None]


def evaluate(jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Any], rule: Rule) -> list[Any]:
    """Evaluates an open jaxpr, asking the rule before every equation; traceable, so transformable."""
    values: dict[Any, Any] = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *inputs), strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    for position, eqn in enumerate(jaxpr.eqns):
        arguments = [read(atom) for atom in eqn.invars]
        outputs = rule(position, eqn, arguments)
        values.update(zip(eqn.outvars, bind(eqn, arguments) if outputs is None else outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def bind(eqn: Any, arguments: Sequence[Any], **replaced: Any) -> Sequence[Any]:
    """Applies the equation's primitive, with some of its parameters replaced."""
    bound = eqn.primitive.get_bind_params({**eqn.params, **replaced})
    # jax before 0.8 hands the functions of a call back apart from the parameters.
    subfunctions, params = bound if isinstance(bound, tuple) else ((), bound)
    outputs = eqn.primitive.bind(*subfunctions, *arguments, **params)
    return outputs if eqn.primitive.multiple_results else [outputs]


def open_jaxpr(jaxpr: Any) -> Any:
    """The jaxpr of a closed one; an open one itself."""
    return getattr(jaxpr, "jaxpr", jaxpr)


def scan_counts(eqn: Any) -> tuple[int, int]:
    """Numbers of constants and of carried values among a scan's inputs, in whichever form this jax keeps them."""
    if "num_consts" in eqn.params:
        return eqn.params["num_consts"], eqn.params["num_carry"]
    consts, carry, _ = eqn.params["ft_in"].unpack()
    return len(list(consts)), len(list(carry))


def forwarded_inputs(jaxpr: Any) -> list[int | None]:
    """For every output of an open jaxpr, the position of the input it is handed through from, untouched, or None."""
    origin: dict[Any, Any] = {var: position for position, var in enumerate(jaxpr.invars)}
    for eqn in jaxpr.eqns:
        # Calls without bookkeeping of their own (jit, remat, custom derivatives): inputs and outputs are the body's.
        body = next((open_jaxpr(eqn.params[name]) for name in ("jaxpr", "call_jaxpr") if name in eqn.params), None)
        if body is None or len(body.invars) != len(eqn.invars) or len(body.outvars) != len(eqn.outvars):
            continue
        for place, (outvar, position) in enumerate(zip(eqn.outvars, forwarded_inputs(body), strict=True)):
            if position is None or (eqn.primitive.name == "scan" and not _same_in_every_turn(eqn, place, position)):
                continue
            source = eqn.invars[position]
            if not isinstance(source, Literal) and source in origin:
                origin[outvar] = origin[source]
    return [None if isinstance(var, Literal) else origin.get(var) for var in jaxpr.outvars]


def _same_in_every_turn(scan: Any, place: int, position: int) -> bool:
    # A carried value that stays where it is, or a slice of an input that becomes the slice of an output.
    consts, carried = scan_counts(scan)
    return position == consts + place if place < carried else position >= consts + carried


def source_line(eqn: Any) -> str | None:
    """The innermost line of the source that is neither jax's own nor the standard library's."""
    traceback = eqn.source_info.traceback
    jaxs = Path(jax.__file__).parent.as_posix()
    # Packages may be installed inside the folder of the standard library.
    standard = Path(contextlib.__file__).parent.as_posix()
    for frame in traceback.frames if traceback else ():
        name = Path(frame.file_name).as_posix()
        if not name.startswith(jaxs) and ("-packages/" in name or not name.startswith(standard)):
            return f"{frame.file_name}:{frame.line_num} ({frame.function_name})"
    return None
