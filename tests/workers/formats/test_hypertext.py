from workers.formats import parse
from workers.formats.blocks import Block

TEXT = """<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE html>
<html><head><title>not text</title><style>p {}</style></head>
<body><nav><a href="/">Home</a></nav>
<h1>Change <em>log</em><a href="#x">¶</a></h1>
<div>Loose text <p>A paragraph<br>with &amp; a break.</p> more loose</div>
<script>var x = "<p>no</p>"</script>
<dl><dt>lease</dt><dd>How <b>long</b>.</dd><dt>alone</dt></dl>
<ul><li><strong>Ring</strong>: recent events</li><li><p>inner</p></li></ul>
<pre>code</pre>
<table><tr><td>cell</td></tr></table>
</body></html>
"""


def test_headings_text_and_definitions_with_their_lines():
    assert parse("html", TEXT) == [
        Block("heading", 5, "Change log", level=1),
        Block("text", 6, "Loose text more loose"),
        Block("text", 6, "A paragraph with & a break."),
        Block("definition", 8, "How long.", term="lease"),
        Block("definition", 9, "recent events", term="Ring"),
        Block("text", 9, "inner"),
        Block("text", 11, "cell"),
    ]


def test_a_fragment_and_plain_text_are_read_too():
    assert parse("html", "just <b>bold</b> words") == [Block("text", 1, "just bold words")]
    assert parse("html", "no markup at all") == [Block("text", 1, "no markup at all")]


def test_broken_markup_is_read_as_far_as_it_goes():
    assert [block.text for block in parse("html", "<h1>Open<p>and <b>never closed")] == [
        "Open and never closed",
        "and never closed",
    ]


def test_deep_nesting_is_read():
    assert parse("html", "<div>" * 3000 + "deep" + "</div>" * 3000)
