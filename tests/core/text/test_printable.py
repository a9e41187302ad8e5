"""What a model or an endpoint writes cannot steer a terminal, in whatever pieces it comes."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.core.text.printable import PrintableStream, printable, printable_line

ALPHABET = "\x1b[]P\\;07 a?(m\x07\x9b\x9c\x90\r\n\t\u202e\ud83d"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\nof two lines", "plain\ttext\nof two lines"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[1;1Hgone", "gone"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;cm0gLXJm\x07clip", "clip"),
        ("\x9b31mred\x9d0;title\x9c", "red"),
        ("\x1bPq#0\x1b\\picture", "picture"),
        ("\x1b(0lines\x1b(B\x1bc", "lines"),
        ("over\rwritten\b\b\x7f", "overwritten"),
        ("lines\r\nof Windows", "lines\nof Windows"),
        ("half \ud83d of one", "half \ufffd of one"),
        ("\u202egnp.exe", "gnp.exe"),
        ("\x1b]0;never ended", "0;never ended"),
        ("a lone \x1b", "a lone "),
        ("Привет, 世界, مرحبا 👩‍👩‍👧", "Привет, 世界, مرحبا 👩‍👩‍👧"),
    ],
)
def test_escape_sequences_and_control_characters_are_removed(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable_line(text) == " ".join(shown.split())


@given(st.lists(st.text(ALPHABET, min_size=1, max_size=6), max_size=12))
def test_pieces_give_what_the_whole_gives_and_nothing_unsafe(pieces: list[str]) -> None:
    stream = PrintableStream()
    shown = "".join([*map(stream.feed, pieces), stream.finish()])
    assert shown == printable("".join(pieces))
    assert not set(shown) & set("\x1b\x07\x9b\x9c\x90\r\u202e\ud83d")


def test_text_without_sequences_is_not_held_back() -> None:
    stream = PrintableStream()
    assert [stream.feed(piece) for piece in ("a", " b", "\x1b[3", "1m c")] == ["a", " b", "", " c"]


@pytest.mark.alone
@pytest.mark.parametrize(
    "part", ["\x1b]", "\x1b[", "\x1b]0;aaa", "\x9d", "\x1b[0;0;0", "\x1b\x1b(", "\x1b" + "1" * 500]
)
def test_the_work_is_linear(part: str) -> None:
    def seconds(length: int) -> float:
        text = (part * length)[:length]
        begun = time.process_time()
        printable(text)
        return time.process_time() - begun

    short = min(seconds(50_000) for _ in range(3))
    assert min(seconds(500_000) for _ in range(3)) < 40 * short + 0.01
