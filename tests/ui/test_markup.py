from __future__ import annotations

from messagebroker.ui.markup import table, tag


def test_text_is_escaped_and_markup_is_not_escaped_again() -> None:
    assert tag("td", "<b>&", tag("i", "'\"")) == "<td>&lt;b&gt;&amp;<i>&#x27;&quot;</i></td>"


def test_attributes_are_escaped_and_empty_ones_left_out() -> None:
    assert (
        tag("a", "x", href='"><script>', class_="", data_label="L") == '<a href="&quot;&gt;&lt;script&gt;" data-label="L">x</a>'
    )


def test_a_joined_piece_of_markup_is_text_again() -> None:
    assert tag("p", tag("b", "x") + "<i>") == "<p>&lt;b&gt;x&lt;/b&gt;&lt;i&gt;</p>"


def test_a_table_labels_its_cells_for_phones() -> None:
    made = table("C", {"A": "", "B": "number"}, [["<1>", "2"]], "kind")
    assert '<td data-label="A">&lt;1&gt;</td><td class="number" data-label="B">2</td>' in made
    assert '<th class="number" scope="col">B</th>' in made
