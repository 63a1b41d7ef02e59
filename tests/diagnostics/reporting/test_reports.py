import io
import pickle

import matplotlib.image
import numpy as np

from jaxdl.diagnostics.reporting.reports import canvas, cell, finished, percent, text_table


def test_cells():
    assert [cell(value) for value in (1 / 3, np.nan, np.inf, 12345678.0)] == ["0.3333", "-", "inf", "1.235e+07"]


def test_shares():
    assert [percent(share) for share in (0.3125, np.float32(1), 0.0)] == ["31.2 %", "100 %", "0 %"]
    assert percent(0.975, 2) == "98 %"


def test_tables_line_up():
    assert text_table(("name", "n"), [["a", "10"], ["longer", "2"]]) == "name     n\na       10\nlonger   2"


def test_a_long_title_is_broken_and_the_picture_saved(tmp_path):
    figure, _ = canvas()
    assert finished(figure, tmp_path / "empty.png", "word " * 50) is figure
    assert figure.get_suptitle().count("\n") == 2
    assert finished(figure, None, "word " * 500).get_suptitle().count("\n") == 4
    assert figure.get_suptitle().endswith("word …")
    assert (tmp_path / "empty.png").stat().st_size > 1000


def test_a_notebook_is_given_the_picture():
    figure, axes = canvas()
    axes.set_facecolor("red")
    picture = finished(figure, None, "")._repr_png_()
    pixels = matplotlib.image.imread(io.BytesIO(picture))
    np.testing.assert_array_equal(pixels[len(pixels) // 2, pixels.shape[1] // 3, :3], [1, 0, 0])
    again = pickle.loads(pickle.dumps(figure))
    assert again._repr_png_() == picture
