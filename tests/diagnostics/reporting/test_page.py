"""The page: what stands on it and in which order, read back by an HTML parser."""

import base64
from dataclasses import fields
from html.parser import HTMLParser

from matplotlib.figure import Figure

from jaxdl.diagnostics import Thresholds
from jaxdl.diagnostics.reporting.page import Finding, by_urgency, headline, page
from jaxdl.diagnostics.reporting.reports import png

NOTE = "<script>alert('&')</script>"
FINDINGS = [
    Finding("fine", "healthy", "all well", "a table"),
    Finding("missing", "none", "no recurrence"),
    Finding("ill", "sick", NOTE, f"{NOTE}\n2 < 3", png(Figure(figsize=(1, 1)))),
    Finding("broke", "failed", "ValueError: no"),
]


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append(dict(attrs))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(text):
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert not reader.open
    return reader


def test_order_and_headline():
    assert [finding.name for finding in by_urgency(FINDINGS)] == ["ill", "broke", "fine", "missing"]
    assert headline(FINDINGS) == "1 sick, 1 failed, 1 healthy, 1 not applicable"
    assert headline([]) == "nothing measured"


def test_the_page_is_well_formed_escaped_and_needs_nothing_beside_it():
    reader = read(page("<b>title</b>", FINDINGS, {"batch": "<x>"}, Thresholds()))
    assert "script" not in reader.tags
    assert "<b>title</b>: 1 sick, 1 failed, 1 healthy, 1 not applicable" in reader.text
    assert f"{NOTE}\n2 < 3" in reader.text
    assert {"link", "iframe", "object"}.isdisjoint(reader.tags)
    targets = [a.get("src") or a["href"] for a in reader.attributes if "src" in a or "href" in a]
    assert targets
    assert all(target.startswith(("data:image/png;base64,", "#")) for target in targets)
    anchors = {a["id"] for a in reader.attributes if "id" in a}
    assert {target[1:] for target in targets if target.startswith("#")} == anchors
    (picture,) = [target for target in targets if target.startswith("data:")]
    assert base64.b64decode(picture.partition(",")[2])[:4] == b"\x89PNG"
    assert any(a.get("name") == "viewport" for a in reader.attributes)


def test_verdicts_come_first_and_thresholds_last():
    text = page("t", FINDINGS, {}, Thresholds(shrinks_per_layer=0.123))
    assert text.index("ValueError: no") < text.index("<section>") < text.index("<h2>Thresholds</h2>")
    assert text.count("<section>") == 2  # what failed or does not apply is one line
    cells = read(text).text
    for field in fields(Thresholds):
        assert cells[cells.index(field.name) + 2 :], field.name
    row = cells.index("shrinks_per_layer")
    assert cells[row + 1] == "0.123"
    assert cells[row + 2].startswith("mean factor per layer, towards the input, beyond which")
    assert cells[cells.index("cancelled") + 2].endswith("of an exact zero.")
