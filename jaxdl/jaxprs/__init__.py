"""Traced programs: where they use their parameters, and how to run them with something changed at those places."""

from jaxdl.jaxprs.edits import Edit as Edit
from jaxdl.jaxprs.edits import evaluate_edited as evaluate_edited
from jaxdl.jaxprs.edits import readings as readings
from jaxdl.jaxprs.edits import vector_shape as vector_shape
from jaxdl.jaxprs.elementwise import elementwise as elementwise
from jaxdl.jaxprs.elementwise import is_floating as is_floating
from jaxdl.jaxprs.evaluation import bind as bind
from jaxdl.jaxprs.evaluation import evaluate as evaluate
from jaxdl.jaxprs.evaluation import forwarded_inputs as forwarded_inputs
from jaxdl.jaxprs.evaluation import open_jaxpr as open_jaxpr
from jaxdl.jaxprs.evaluation import scan_counts as scan_counts
from jaxdl.jaxprs.example_axis import Site as Site
from jaxdl.jaxprs.example_axis import find_sites as find_sites
from jaxdl.jaxprs.example_labels import Axis as Axis
from jaxdl.jaxprs.example_labels import constant_along as constant_along
from jaxdl.jaxprs.flops import matrix_flops as matrix_flops
from jaxdl.jaxprs.levels import Level as Level
from jaxdl.jaxprs.levels import Node as Node
from jaxdl.jaxprs.levels import all_levels as all_levels
from jaxdl.jaxprs.levels import arriving as arriving
from jaxdl.jaxprs.levels import carrying as carrying
from jaxdl.jaxprs.levels import written_out as written_out
from jaxdl.jaxprs.rewriting import mentions as mentions
from jaxdl.jaxprs.rewriting import rewrite_inside as rewrite_inside
from jaxdl.jaxprs.taps import Tap as Tap
from jaxdl.jaxprs.taps import evaluate_tapped as evaluate_tapped
from jaxdl.jaxprs.taps import scans_around as scans_around
from jaxdl.jaxprs.turns import Turns as Turns
from jaxdl.jaxprs.turns import recorded_turns as recorded_turns
from jaxdl.jaxprs.turns import run_body as run_body
from jaxdl.jaxprs.uses import Use as Use
from jaxdl.jaxprs.uses import Where as Where
from jaxdl.jaxprs.uses import find_uses as find_uses
from jaxdl.jaxprs.uses import trace as trace

__all__ = [
    "Axis",
    "Edit",
    "Level",
    "Node",
    "Site",
    "Tap",
    "Turns",
    "Use",
    "Where",
    "all_levels",
    "arriving",
    "bind",
    "carrying",
    "constant_along",
    "elementwise",
    "evaluate",
    "evaluate_edited",
    "evaluate_tapped",
    "find_sites",
    "find_uses",
    "forwarded_inputs",
    "is_floating",
    "matrix_flops",
    "mentions",
    "open_jaxpr",
    "readings",
    "recorded_turns",
    "rewrite_inside",
    "run_body",
    "scan_counts",
    "scans_around",
    "trace",
    "vector_shape",
    "written_out",
]
