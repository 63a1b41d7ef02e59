"""The loss around some parameters: along lines and planes, and under random perturbations."""

from jaxdl.diagnostics.landscape.basin import Basin as Basin
from jaxdl.diagnostics.landscape.basin import basin_width as basin_width
from jaxdl.diagnostics.landscape.surface import Landscape as Landscape
from jaxdl.diagnostics.landscape.surface import loss_landscape as loss_landscape
