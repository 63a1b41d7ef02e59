"""Many devices and many processes: where state, data and batches of a run lie."""

from jaxdl.training.parallel.layout import Layout as Layout
from jaxdl.training.parallel.mesh import data_parallel as data_parallel
from jaxdl.training.parallel.rules import FullySharded as FullySharded
from jaxdl.training.parallel.rules import fully_sharded as fully_sharded
