"""Tell from a question alone whether it asks for a result, or for a text that no other answer can confirm. Pure.

    question_kind("How many legs have three spiders?")     # "result"
    question_kind("Write a poem about spiders.")           # "open"
    question_kind("Write a function that counts legs.")    # "code"
    question_kind("Spiders and their legs")                # None: the answers will tell

Answers that state a result can agree, so a further call can pay. A text cannot, and its policy is `[mixture] open`. Nor
can code, unless it is run.
What asks for a result goes first: "Explain your working. Answer yes or no." Where nothing tells, the answers decide:
"Who is Ada Lovelace?" may be answered in a word or in a page.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from routemoa.judging.multiple_choice import count_options

__all__ = ["QuestionKind", "question_kind"]

QuestionKind = Literal["result", "open", "code"]

MAX_READ = 4000
"""Characters that are read at the beginning and at the end of a question."""
CACHED_QUESTIONS = 64
"""Questions whose kind is kept: each decision about a query asks for it several times."""
SHORT = 200
"""Characters of a question that asks for a result where it has digits, such as "2 + 2?"."""

_RESULT = re.compile(
    r"\b(?:yes or no|true or false|multiple[- ]choice|final answer|single choice|one word|\\boxed)\b|\\boxed"
    r"|\banswer (?:only )?with (?:an?|one|only|just|the (?:letter|number|option|word|name))\b"
    r"|\b(?:correct|right|following) (?:answer|option|choice)s?\b"
    r"|\b(?:which|what) (?:one )?of the (?:following|above|options)\b|\bfill in the blank"
    r"|(?:answer|答案|réponse|antwort|respuesta|resposta|risposta|ответ|정답|答え)\s*[:：]\s*$"
    r"|\[asy\]|\\(?:frac|sqrt|sum|int|cdot|times|begin|left|pi|theta|mathbb|mathrm)\b|\$[^$\n]{1,80}[=<>^_\\+][^$\n]{0,80}\$",
    re.IGNORECASE,
)
_CODE = re.compile(
    r"(?m)^[ \t]{0,40}+(?:def \w{1,80}\(|from \w{1,80} import |import \w{1,80}$|>>> )|\bassert \w{1,80}\("
    r"|\b(?:write|implement|create|complete|define|develop)\b[^.\n]{0,40}\b(?:function|method|class)\b"
    r"|\bpython (?:function|program|code) (?:to|that|which)\b",
    re.IGNORECASE,
)
_QUANTITY = re.compile(
    r"\bhow (?:many|much|old|far|tall|long|fast|high|deep|big|large|heavy|wide)\b"
    r"|\bwhat (?:is|are|was|were|will be|would be|'s) (?:the|its|his|her|their|my) (?:\w+ ){0,3}"
    r"(?:value|sum|product|difference|ratio|probability|percent|percentage|average|mean|median|area|volume|perimeter"
    r"|length|width|height|speed|measure|distance|price|cost|total|number|amount|age|remainder|root|result|answer|solution)s?\b"
    r"|\b(?:calculate|compute|evaluate|solve|simplify|factor|prove|determine|find)"
    r" (?:the|for|all|how|this|its|\w{1,2}\b)"
    r"|\bwhat (?:percent|percentage|fraction|number|year|time|day|age)\b",
    re.IGNORECASE,
)
_OPEN = re.compile(
    # What is asked for is a text: the verb begins a sentence, or follows a polite phrase.
    r"(?:^|[.!?:;,\n][ \t]{0,4}|\b(?:please|kindly|you|me|to|and|let's|then|now)[ \t]{1,4})"
    r"(?:re-?write|write|describe|explain|brainstorm|suggest|recommend|propose|compose|draft|summari[sz]e|paraphrase"
    r"|outline|discuss|elaborate|compare|contrast|analy[sz]e|critique|review|design|plan|invent|imagine|pretend|act as"
    r"|role-?play|translate|edit|improve|proofread|advise|persuade|argue|narrate|tell (?:me|us)|help me|teach me"
    r"|give (?:me |us )?(?:a|an|some|your|the|detailed|tips|ideas|advice|examples|suggestions)\b|provide"
    r"|create|develop|generate|make (?:me )?(?:a|an|up|some)\b|come up with|list|name (?:some|a few)|show me|talk about"
    r"|prepare|build|continue|expand|use|turn|convert|implement|code|draw)\b"
    r"|\bhow (?:do|does|did|can|could|should|would|to|come|might|about)\b|\b(?:why|what if|what's the best way)\b"
    r"|\bwhat (?:are|is|would be|were) (?:some|a good|good|your|the (?:best|main|major|key|primary|most important"
    r"|pros|benefits|advantages|difference|differences|meaning|purpose|point|implications|challenges|steps|top))\b"
    r"|\bwhat (?:can|should|could|do|does|would|might) (?:i|we|you|one|people|it|they)\b|\bshould (?:i|we|you)\b"
    r"|\b(?:can|could|would|will) you (?:please )?(?:\w+ )?"
    r"(?:write|explain|help|give|tell|show|make|suggest|describe)\b"
    r"|\b(?:do you think|your (?:opinion|thoughts|view|take)|any (?:tips|advice|ideas|suggestions|recommendations))\b"
    r"|\bi (?:want|need|would like)(?: some| your)? (?:help|advice|tips|ideas|suggestions)\b",
    re.IGNORECASE,
)
_OPEN_ELSEWHERE = re.compile(
    r"\b(?:schreib|erklär|beschreib|warum|wie kann|fasse|nenne|übersetz|entwirf|vergleich"
    r"|écri[stv]|expliqu|décri[stv]|pourquoi|comment|résume|propose|traduis|rédige|compare"
    r"|escrib|explic|descri[bv]|por qu[eé]|cómo|como|resum|sugier|suger|traduc|traduz|redact|escrev"
    r"|scriv|spieg|descriv|perché|come (?:posso|si|faccio)|riassum|sugger|traduci"
    r"|напиш|объясн|опиш|почему|как |расскаж|переведи|сравни|посовету)"
    r"|写|解释|描述|为什么|怎么|如何|总结|翻译|介绍|建议|比较|書い|説明|なぜ|どうやって|要約|教えて"
    r"|써\s?줘|작성|설명|왜 |어떻게|요약|추천|اكتب|اشرح|لماذا|كيف|صف |लिख|समझा|क्यों|कैसे|बताइ",
    re.IGNORECASE,
)


def question_kind(text: str) -> QuestionKind | None:
    """Return whether a question asks for a result, a text or code; None where that cannot be told.

    Args:
        text: the last turn of the caller. Its beginning and its end are read.
    """
    text = text.strip()
    if len(text) > 2 * MAX_READ:
        text = f"{text[:MAX_READ]}\n{text[-MAX_READ:]}"
    return _read_kind(text)


@lru_cache(maxsize=CACHED_QUESTIONS)
def _read_kind(text: str) -> QuestionKind | None:
    """Return the kind of a question of bounded length."""
    if count_options(text) or _RESULT.search(text):
        return "result"
    if _CODE.search(text):
        return "code"
    asks_quantity, has_digits = _QUANTITY.search(text) is not None, any(c.isdigit() for c in text)
    if asks_quantity and has_digits:
        return "result"
    if _OPEN.search(text) or _OPEN_ELSEWHERE.search(text):
        return "open"
    return "result" if asks_quantity or (has_digits and len(text) <= SHORT) else None
