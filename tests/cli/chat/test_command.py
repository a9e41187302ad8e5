"""`routemoa chat` as a process of its own, over a real endpoint, without a terminal."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from routemoa.ledger import read_calls
from routemoa.testing import Fault
from tests.cli.test_ask import ROUTEMOA, SPOKEN, endpoint, pool, run, wait_until


def reply(body: dict[str, Any]) -> str:
    """Answer with the number of messages and the question."""
    question = body["messages"][-1]["content"].partition("\n---")[0].strip()
    return f"{len(body['messages'])}: {question}"


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def chat(file: str, lines: str, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    return run("chat", "--pool", file, *options, stdin=lines, **env)


def start(file: str) -> subprocess.Popen[str]:
    command = [*ROUTEMOA, "chat", "--method", "single:a", "--pool", file]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def test_each_line_is_a_turn_and_later_ones_send_the_whole_conversation(tmp_path: Path) -> None:
    with endpoint(reply) as e:
        done = chat(pool(tmp_path, e.url, "a"), "One?\n\nTwo?\r\nThree?", "--system", "S")
        assert e.requests[-1]["messages"] == [
            {"role": "system", "content": "S"},
            *(user("One?"), assistant("2: One?"), user("Two?"), assistant("4: Two?")),
            e.requests[-1]["messages"][-1],
        ]
    assert done.stdout == "2: One?\n4: Two?\n6: Three?\n"
    assert [line.rpartition(" · ")[2] for line in done.stderr.splitlines()] == ["why: /why"] * 3
    assert "chat so far" not in done.stderr.splitlines()[0]
    assert "chat so far cost unknown" in done.stderr.splitlines()[2]
    assert done.returncode == 0


def test_the_answer_of_the_mixture_becomes_the_assistants_turn(tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> str:
        result = 5 if body["model"] == "a" else 4
        return f'The answer is {result}.\n<assessment>{{"self": 0.8}}</assessment>'

    with endpoint(answer) as e:
        done = chat(pool(tmp_path, e.url, "abc", SPOKEN), "2+2?\nAnd again?\n")
        turn = e.requests[-1]["messages"][:2]
    assert turn == [user("2+2?"), assistant(done.stdout.splitlines()[0])]


def test_the_calls_are_in_the_ledger(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    with endpoint(reply) as e:
        chat(pool(tmp_path, e.url, "a"), "One?\n/method single:a\nTwo?\n", ROUTEMOA_STORE=str(store))
    assert [(c.method, c.model, c.outcome) for c in read_calls(store)] == [
        ("routemoa", "a", "ok"),
        ("single:a", "a", "ok"),
    ]


def test_a_line_goes_on_after_a_backslash(tmp_path: Path) -> None:
    with endpoint(reply) as e:
        chat(pool(tmp_path, e.url, "a"), "One\\\n  and two\\\n\\\nthree?\n", "--method", "single:a")
        assert e.requests[0]["messages"] == [user("One\n  and two\n\nthree?")]


def test_input_of_any_encoding_is_read(tmp_path: Path) -> None:
    with endpoint(reply) as e:
        command = [*ROUTEMOA, "chat", "--method", "single:a", "--pool", pool(tmp_path, e.url, "a")]
        lines = b"\xef\xbb\xbfGr\xc3\xbc\xc3\x9fe\nLatin-1: \xfc"
        done = subprocess.run(command, input=lines, capture_output=True, check=False, timeout=60)
    assert done.stdout.decode() == "1: Grüße\n3: Latin-1: \ufffd\n"


def test_why_explains_the_last_turn(tmp_path: Path) -> None:
    with endpoint(lambda body: "The answer is 4.") as e:
        done = chat(pool(tmp_path, e.url, mixture=SPOKEN), "/why\n2+2?\n/why\n")
    assert done.stderr.startswith("nothing was asked in this chat yet\n")
    for words in ("routemoa: 2 calls", "prior, before any call: a 0.60, b 0.60", "layer 1 called a, b: ", "judged"):
        assert words in done.stdout, done.stdout
    for words in ("agreement: both agree: 4 by a, b", "stopped: agreed", "the answer is"):
        assert words in done.stdout


def test_the_method_can_be_changed(tmp_path: Path) -> None:
    with endpoint(reply) as e:
        done = chat(pool(tmp_path, e.url), "/method single:b\nOne?\n/method mao\n/method\nTwo?\n", "--prefer", "fast")
        assert [r["model"] for r in e.requests] == ["b", "b"]
    assert done.stdout.startswith("method: single:b\n1: One?\nmethod: single:b\nknown: routemoa, moa, ")
    assert "method 'mao' is unknown; did you mean 'moa'?" in done.stderr


def test_retry_asks_again_without_the_answer(tmp_path: Path) -> None:
    with endpoint(reply) as e:
        done = chat(pool(tmp_path, e.url, "a"), "/retry\nOne?\nTwo?\n/retry\n/clear\nThree?\n", "--method", "single:a")
        assert [len(r["messages"]) for r in e.requests] == [1, 3, 3, 1]
        assert e.requests[2]["messages"] == e.requests[1]["messages"]
    assert "nothing was asked yet" in done.stderr


def test_a_conversation_is_saved_and_resumed(tmp_path: Path) -> None:
    saved = tmp_path / "talk.json"
    with endpoint(reply) as e:
        file = pool(tmp_path, e.url, "a")
        options = ("--method", "single:a")
        chat(file, f"One?\n/save {saved}\n", *options, "--system", "S")
        resumed = chat(file, "Two?\n/retry\n/save\n", *options, "--resume", str(saved))
        asked = run("ask", "Three?", "--messages", str(saved), "--pool", file, *options)
    messages = json.loads(saved.read_text())["messages"]
    assert messages[0] == {"role": "system", "content": "S"}
    assert messages[1:] == [user("One?"), assistant("2: One?"), user("Two?"), assistant("4: Two?")]
    assert resumed.stdout == "4: Two?\n4: Two?\n"
    assert asked.stdout == "6: Three?\n"


def test_retry_of_a_resumed_conversation_answers_its_last_question(tmp_path: Path) -> None:
    saved = tmp_path / "talk.json"
    with endpoint(reply) as e:
        file = pool(tmp_path, e.url, "a")
        for messages in ([user("One?"), assistant("?")], [user("One?")]):
            saved.write_text(json.dumps(messages))
            chat(file, "/retry\nTwo?\n", "--method", "single:a", "--resume", str(saved))
        assert [len(r["messages"]) for r in e.requests] == [1, 3, 1, 3]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/save", "name a file"),
        ("/save POOL", "it exists and holds no conversation"),
        ("/save /nowhere/at/all.json", "cannot be written"),
        ("/save /", "/: this is a folder"),
        ("/slave", "there is no command /slave; did you mean /save?"),
        ("/etc/passwd is what?", "begin with a space to ask this as a question"),
    ],
)
def test_a_wrong_command_is_one_line_and_loses_nothing(tmp_path: Path, line: str, words: str) -> None:
    with endpoint(reply) as e:
        file = pool(tmp_path, e.url, "a")
        before = Path(file).read_text()
        done = chat(file, f"One?\n{line.replace('POOL', file)}\n /etc/passwd?\n")
    assert done.stdout == "1: One?\n3: /etc/passwd?\n"
    assert words in done.stderr
    assert Path(file).read_text() == before
    assert done.returncode == 2


def test_a_failing_member_does_not_end_it(tmp_path: Path) -> None:
    with endpoint(reply) as e:
        file = pool(tmp_path, e.url, "b")
        dead = '[[model]]\nname = "dead"\nendpoint = "http://127.0.0.1:9/v1"\nprior = 0.9\n'
        Path(file).write_text(Path(file).read_text() + dead)
        done = chat(file, "One?\n/why\nTwo?\n")
    assert [line for line in done.stdout.splitlines() if line[0].isdigit()] == ["1: One?", "3: Two?"]
    assert "dead failed: http://127.0.0.1:9/v1 cannot be reached" in done.stdout
    assert done.returncode == 0


def test_a_failing_turn_does_not_end_it_and_is_not_sent_later(tmp_path: Path) -> None:
    with endpoint(reply, [Fault(), Fault(status=400, message="no \x1b[2Jroom")]) as e:
        done = chat(pool(tmp_path, e.url, "a"), "One?\nTwo?\n/why\nThree?\n/retry\n", "--method", "single:a")
        assert e.requests[2]["messages"] == [user("One?"), assistant("1: One?"), user("Three?")]
    assert "HTTP 400: no room; the conversation goes on without this turn" in done.stderr
    assert "\x1b" not in done.stderr
    assert "a failed: HTTP 400: no room" in done.stdout
    assert done.stdout.endswith("3: Three?\n3: Three?\n")
    assert done.returncode == 1


def test_the_limits_hold_for_each_turn(tmp_path: Path) -> None:
    with endpoint(reply) as e:
        done = chat(pool(tmp_path, e.url, "abc"), "1+1?\n2+2?\n", "--max-calls", "1")
        assert len(e.requests) == 2
    assert done.stderr.count("the limits left out b") == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--method", "mao"), "did you mean 'moa'?"),
        (("--resume", "nowhere.json"), "nowhere.json: it cannot be read"),
        (("--method", "moa", "--prefer", "fast"), "moa has no trade-off to choose"),
        (("--max-calls", "0"), "max_calls = 0 is out of range"),
    ],
)
def test_wrong_use_is_one_line(tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    done = chat(pool(tmp_path, "http://127.0.0.1:9/v1"), "One?\n", *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_interrupt_stops_the_answer_and_the_next_line_is_read(tmp_path: Path) -> None:
    with endpoint(reply, [Fault(first_byte=30)]) as e:
        command = [*ROUTEMOA, "chat", "--method", "single:a", "--pool", pool(tmp_path, e.url, "a")]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdin is not None
        process.stdin.write("One?\nTwo?\n")
        process.stdin.flush()
        wait_until(lambda: e.open_requests == 1)
        process.send_signal(signal.SIGINT)
        wait_until(lambda: len(e.requests) == 2)
        out, err = process.communicate(timeout=20)
    assert out == "1: Two?\n"
    assert err.startswith("stopped; the question is not part of the conversation")
    assert process.returncode == 0


def test_a_chat_whose_only_answer_was_stopped_is_interrupted(tmp_path: Path) -> None:
    with endpoint(reply, [Fault(first_byte=30)]) as e:
        process = start(pool(tmp_path, e.url, "a"))
        assert process.stdin is not None
        process.stdin.write("One?\n")
        process.stdin.flush()
        wait_until(lambda: e.open_requests == 1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert out == ""
    assert err.startswith("stopped; the question is not part of the conversation")
    assert process.returncode == 130


@pytest.mark.parametrize("lines", ["", "\n  \n"])
def test_an_empty_pipe_is_wrong_use(tmp_path: Path, lines: str) -> None:
    done = chat(pool(tmp_path, "http://127.0.0.1:9/v1", "a"), lines)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "routemoa: no question: pipe in one a line, or run  routemoa chat  at a terminal\n"


def test_a_chat_in_which_every_turn_fails_has_failed(tmp_path: Path) -> None:
    done = chat(pool(tmp_path, "http://127.0.0.1:9/v1", "a"), "One?\n/nonsense\nTwo?\n")
    assert done.returncode == 1
    assert done.stderr.count("cannot be reached") == 2


@pytest.mark.parametrize("lines", ["/models\n", "/quit\n"])
def test_commands_alone_are_no_failure(tmp_path: Path, lines: str) -> None:
    assert chat(pool(tmp_path, "http://127.0.0.1:9/v1", "a"), lines).returncode == 0


def test_an_interrupt_while_it_waits_for_a_line_ends_it(tmp_path: Path) -> None:
    with endpoint(reply) as e:
        command = [*ROUTEMOA, "chat", "--method", "single:a", "--pool", pool(tmp_path, e.url, "a")]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write("One?\n")
        process.stdin.flush()
        assert process.stderr.readline().endswith("why: /why\n")
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=20)[1]
    assert process.returncode == 130
    assert err.rstrip().endswith("interrupted")
    assert "Traceback" not in err


def test_closed_streams_are_empty(tmp_path: Path) -> None:
    with endpoint(reply) as e:
        options = f"--pool {pool(tmp_path, e.url, 'a')}"
        for command, code in (("chat <&-", 2), ("ask hi >&-", 0), ("ask hi 2>&-", 0), ("ask <&-", 2)):
            script = f"exec {shlex.join(ROUTEMOA)} {command} {options}"
            done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, timeout=60)
            assert done.returncode == code, done.stderr
            assert "Traceback" not in done.stderr


def test_history_needs_no_home(tmp_path: Path) -> None:
    """A pipe keeps no history."""
    with endpoint(reply) as e:
        chat(pool(tmp_path, e.url, "a"), "One?\n", XDG_STATE_HOME=str(tmp_path / "state"))
    assert not (tmp_path / "state").exists()
