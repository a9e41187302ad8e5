"""`routemoa chat` on a terminal, as a person uses it: editing, several lines, history, Ctrl-C, Ctrl-D."""

from __future__ import annotations

from pathlib import Path

from routemoa.testing import Fault
from tests.cli.chat.test_command import assistant, reply, user
from tests.cli.pseudo_terminal import PseudoTerminal
from tests.cli.test_ask import endpoint, pool, wait_until


def test_a_conversation_on_a_terminal(tmp_path: Path) -> None:
    with (
        endpoint(lambda body: f"\x1b[31m{reply(body)}\x1b]0;title\x07", [Fault(first_byte=1.5)]) as e,
        PseudoTerminal("chat", "--pool", pool(tmp_path, e.url, "a"), XDG_STATE_HOME=str(tmp_path)) as terminal,
    ):
        terminal.wait_for("/help lists the commands")
        terminal.wait_for(">")
        terminal.send("One?\r")
        terminal.wait_for("asking a (1 s)")
        terminal.wait_for("1: One?")
        terminal.wait_for("why: /why")
        terminal.wait_for(">")
        terminal.send("first\x1b\rsecond\\\rthird\r")
        terminal.wait_for("3: first\nsecond\nthird")
        terminal.wait_for("why: /why")
        terminal.wait_for(">")
        terminal.send("/method single:\t")
        terminal.wait_for("single:a")
        terminal.send("\r")
        terminal.wait_for("method: single:a")
        terminal.wait_for("single:a>")
        terminal.send("\x04")
        assert terminal.wait_for_exit() == 0
        assert e.requests[-1]["messages"][-1]["content"].startswith("first\nsecond\nthird")
    assert "asking" not in "\n".join(terminal.screen)
    assert "\x1b[31m" not in terminal.raw
    assert "title" not in terminal.raw


def test_ctrl_c_stops_the_answer_and_keeps_the_conversation(tmp_path: Path) -> None:
    with (
        endpoint(reply, [Fault(), Fault(first_byte=60), Fault(between=0.3)]) as e,
        PseudoTerminal(
            "chat", "--method", "single:a", "--pool", pool(tmp_path, e.url, "a"), XDG_STATE_HOME=str(tmp_path)
        ) as terminal,
    ):
        terminal.wait_for(">")
        terminal.send("One?\r")
        terminal.wait_for("why: /why")
        terminal.wait_for(">")
        terminal.send("Two?\r")
        terminal.wait_for("asking a")
        terminal.send("\x03")
        terminal.wait_for("stopped; the question is not part of the conversation")
        wait_until(lambda: e.open_requests == 0)
        terminal.wait_for(">")
        terminal.send("half\x03")
        terminal.wait_for(">")
        terminal.send("/retry\r")
        terminal.wait_for("3:")
        terminal.send("\x03")
        terminal.wait_for("the answer so far is part of the conversation")
        terminal.wait_for(">")
        terminal.send("Four?\r")
        terminal.wait_for("5: Four?")
        terminal.wait_for(">")
        terminal.send("/quit\r")
        assert terminal.wait_for_exit() == 0
        last = e.requests[-1]["messages"]
    assert last[:3] == [user("One?"), assistant("1: One?"), user("Two?")]
    assert last[3]["content"].startswith("3:")
    assert last[4:] == [user("Four?")]
    assert "Traceback" not in terminal.text


def test_what_was_written_is_there_in_the_next_chat(tmp_path: Path) -> None:
    with endpoint(reply) as e:
        file = pool(tmp_path, e.url, "a")
        with PseudoTerminal("chat", "--pool", file, XDG_STATE_HOME=str(tmp_path)) as terminal:
            terminal.wait_for(">")
            terminal.send("A prime?\r")
            terminal.wait_for("why: /why")
            terminal.wait_for(">")
            terminal.send("\x04")
            assert terminal.wait_for_exit() == 0
        with PseudoTerminal("chat", "--pool", file, XDG_STATE_HOME=str(tmp_path)) as terminal:
            terminal.wait_for(">")
            terminal.send("\x1b[A")  # up
            terminal.wait_for("A prime?")
            terminal.send("\r")
            terminal.wait_for("1: A prime?")
    history = tmp_path / "routemoa" / "chat_history"
    assert history.stat().st_mode & 0o777 == 0o600


def test_without_a_place_for_its_history_it_works(tmp_path: Path) -> None:
    (tmp_path / "routemoa").touch()  # no folder
    with (
        endpoint(reply) as e,
        PseudoTerminal("chat", "--pool", pool(tmp_path, e.url, "a"), XDG_STATE_HOME=str(tmp_path)) as terminal,
    ):
        terminal.wait_for("what you write is not kept for the next chat")
        terminal.wait_for(">")
        terminal.send("One?\r")
        terminal.wait_for("1: One?")


def test_what_is_typed_during_an_answer_is_the_next_turn(tmp_path: Path) -> None:
    with (
        endpoint(reply, [Fault(first_byte=1.5)]) as e,
        PseudoTerminal("chat", "--pool", pool(tmp_path, e.url, "a"), XDG_STATE_HOME=str(tmp_path)) as terminal,
    ):
        terminal.wait_for(">")
        terminal.send("One?\r")
        terminal.wait_for("asking a")
        terminal.send("Two?\r")
        terminal.wait_for("1: One?")
        assert "Two?" not in terminal.text.partition("1: One?")[0]
        terminal.wait_for("3: Two?")
