"""What is remembered of a conversation: for a time, for one sender and one method, without its text."""

from __future__ import annotations

from msgspec.structs import replace

from routemoa.core.chat.conversations import ConversationMemory, cached_prompt
from routemoa.core.content.cache_marks import CachedPrompt
from routemoa.core.tools import ToolCall
from routemoa.core.trace import Answer, Layer, Proposal, Trace
from routemoa.core.types import Message, Query
from routemoa.core.usage import Usage

TURNS = (Message("system", "Be kind."), Message("user", "What of Spain?"))


def answered(choice: str = "a", others: tuple[str, ...] = (), text: str = "Madrid.") -> Answer:
    proposals = tuple(Proposal(m, text, Usage(), None, None) for m in (choice, *others))
    return Answer(text, Trace(Query(TURNS), "routemoa", layers=(Layer(proposals=proposals),), choice=choice))


def next_turn(text: str = "Madrid.") -> Query:
    return Query((*TURNS, Message("assistant", text), Message("user", "And of France?")))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_next_turn_finds_the_model_of_the_last() -> None:
    memory = ConversationMemory()
    memory.remember(answered("a", ("b",)))
    assert memory.attach(next_turn(), "routemoa").cached == CachedPrompt("a", ("b",))
    assert memory.attach(next_turn(" Madrid.\n"), "routemoa").cached == CachedPrompt("a", ("b",)), "clients may strip"


def test_another_text_method_or_sender_is_another_conversation() -> None:
    memory = ConversationMemory()
    memory.remember(answered(), "acme")
    assert memory.attach(next_turn(), "routemoa", "acme").cached == CachedPrompt("a")
    assert memory.attach(next_turn(), "routemoa", "other").cached is None
    assert memory.attach(next_turn(), "routemoa").cached is None
    assert memory.attach(next_turn(), "moa", "acme").cached is None
    assert memory.attach(next_turn("Lisbon."), "routemoa", "acme").cached is None
    moved = Query((Message("user", "Be kind.What of Spain?"), *next_turn().messages[2:]))
    assert memory.attach(moved, "routemoa", "acme").cached is None


def test_what_a_message_holds_besides_text_tells_conversations_apart() -> None:
    memory = ConversationMemory()
    bodies = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]} for url in ("x", "y")]
    names = {memory.hash_messages((Message("user", "", (), body),), "routemoa", None) for body in bodies}
    assert len(names) == 2


def test_calls_of_tools_are_not_remembered_since_their_ids_name_the_model() -> None:
    trace = replace(answered().trace, tool_calls=(ToolCall("weather", "{}", "call_1"),))
    assert cached_prompt(trace) is None


def test_a_first_turn_is_left_as_it_is() -> None:
    memory = ConversationMemory()
    memory.remember(answered())
    first = Query(TURNS)
    assert memory.attach(first, "routemoa") is first
    given = replace(next_turn(), cached=CachedPrompt("z"))
    assert memory.attach(given, "routemoa") is given, "what the caller knows goes first"


def test_an_answer_is_forgotten_when_caches_are() -> None:
    clock = Clock()
    memory = ConversationMemory(seconds=60.0, clock=clock)
    memory.remember(answered())
    clock.now = 59.0
    assert memory.attach(next_turn(), "routemoa").cached is not None
    clock.now = 61.0
    assert memory.attach(next_turn(), "routemoa").cached is None
    memory.remember(answered(text="Lisbon."))
    assert len(memory) == 1, "what is too old makes room"


def test_memory_is_bounded_and_holds_no_text() -> None:
    memory = ConversationMemory(size=3)
    for i in range(10):
        memory.remember(answered(text=f"Madrid, no. {i}."))
    assert len(memory) == 3
    assert memory.attach(next_turn("Madrid, no. 9."), "routemoa").cached is not None
    assert memory.attach(next_turn("Madrid, no. 6."), "routemoa").cached is None
    assert "Madrid" not in repr(vars(memory))


def test_two_memories_give_a_conversation_different_names() -> None:
    names = {ConversationMemory().hash_messages(TURNS, "routemoa", None) for _ in range(2)}
    assert len(names) == 2, "the hash is keyed"


def test_the_writer_is_the_aggregator_where_there_was_one() -> None:
    answer = answered("a", ("b",))
    assert cached_prompt(replace(answer.trace, aggregator="b")) == CachedPrompt("b", ("a",))
    assert cached_prompt(Trace(Query(TURNS), "routemoa")) is None
