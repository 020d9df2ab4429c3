import pytest

from workers.formats import parse
from workers.formats.blocks import Block

TEXT = """.. _label:

==========
Change log
==========

.. contents::
   :depth: 2

Numbered by :ref:`the database <db>`, see `Docs <https://example.org>`_ and
``revision`` for *more* about **it**.

Delivery
========

lease : seconds
    How long a job counts as alive,
    after a heartbeat.

.. code-block:: python

    not_text = 1

.. note:: Read this.

   A note's own text.

Like this::

    literal text

    more literal text

.. glossary::

   viewer
      Whoever watches.

Ring
----

* first item
  goes on
* second item

:field: value

.. A comment
   of two lines

+-----+
| tab |
+-----+

====  ====
a     b
====  ====
"""


def test_sections_definitions_and_prose_with_their_lines():
    assert parse("restructuredtext", TEXT) == [
        Block("heading", 4, "Change log", level=1),
        Block("text", 10, "Numbered by the database, see Docs and revision for more about it."),
        Block("heading", 13, "Delivery", level=2),
        Block("definition", 16, "How long a job counts as alive, after a heartbeat.", term="lease"),
        Block("text", 26, "A note's own text."),
        Block("text", 28, "Like this"),
        Block("definition", 36, "Whoever watches.", term="viewer"),
        Block("heading", 39, "Ring", level=3),
        Block("text", 42, "first item goes on"),
        Block("text", 44, "second item"),
        Block("text", 52, "tab"),
        Block("text", 56, "a b"),
    ]


@pytest.mark.parametrize(
    "text", ["*a " * 50_000, ":a:`" + "x" * 100_000, "`" + "x " * 50_000, ":" * 100_000, "|a " * 50_000]
)
def test_markup_that_never_closes_costs_little(text):
    parse("restructuredtext", text)


@pytest.mark.parametrize(
    "text",
    ["", "\n\n", "..", ".. x", "===", "=====\n", "a\n", "::", " ::\n\n x", "- ", "* *\n==", "|", "+-+", ":a:"],
)
def test_any_text_comes_to_an_end(text):
    parse("restructuredtext", text)
