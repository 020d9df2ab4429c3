from workers.formats import parse
from workers.formats.blocks import Block

TEXT = """---
title: not text
---
# The *change* log

Intro with [a link](https://example.org), `code` and
a second line. ![a picture](x.png)

```python
not = "text"
```

Setext heading
--------------

- **Lease**: how long a job counts as alive.
- **Note:** take care.
- `heartbeat` — renews the lease
- plain item

Viewer
: Whoever watches a project.

| Term | Meaning |
|------|---------|
| ring | recent events |

<!-- a comment -->
    indented code
"""


def test_headings_text_and_definitions_with_their_lines():
    assert parse("markdown", TEXT) == [
        Block("heading", 4, "The change log", level=1),
        Block("text", 6, "Intro with a link, code and a second line. a picture"),
        Block("heading", 13, "Setext heading", level=2),
        Block("definition", 16, "how long a job counts as alive.", term="Lease"),
        Block("text", 17, "Note: take care."),
        Block("definition", 18, "renews the lease", term="heartbeat"),
        Block("text", 19, "plain item"),
        Block("definition", 21, "Whoever watches a project.", term="Viewer"),
        Block("text", 24, "Term"),
        Block("text", 24, "Meaning"),
        Block("text", 26, "ring"),
        Block("text", 26, "recent events"),
    ]


def test_windows_line_ends_change_no_line_numbers():
    assert parse("markdown", TEXT.replace("\n", "\r\n")) == parse("markdown", TEXT)


def test_a_rule_at_the_top_is_no_front_matter():
    assert parse("markdown", "---\n\ntext\n") == [Block("text", 3, "text")]


def test_deep_nesting_is_read():
    assert parse("markdown", "> " * 90 + "deep")
    assert parse("markdown", "[" * 20_000)
