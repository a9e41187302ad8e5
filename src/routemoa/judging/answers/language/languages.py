"""How languages say what the answer is: the words before a result ("La respuesta es"), after it ("です"), around it.

A noun for "answer" is looked for first, as a plain text; a pattern runs only where one stands.
"""

from __future__ import annotations

import re

from routemoa.core.text.late_pattern import compile_late

__all__ = ["CORRECTION", "OPTION_NOUN", "find_first_lead_in", "find_lead_ins", "strip_frame"]

MAX_LEAD_INS = 50
"""Places that introduce a result with one noun that are looked at, from the last one."""

_RESULT = (
    r"(?=[\"'“„«「『(\[{$\\<*]{0,4}[-+]?[€£$¥₹]?\s?"
    r"(?:\d|[.,]\d|(?-i:[A-Z])[\"'”’»」)\]}$*>]{0,3}\s?(?:[.,;:!?。।]|$|\n)|\\(?:boxed|text|frac)))"
)
"""What begins like a number, a letter or a box: it may follow "Answer" without a verb."""
_RELATED = r"[\w '’]{1,40}?"
_NEGATION = r"(?:no|non|n[ãa]o|ne|n['’]est|не)\b"
_FLAGS = re.IGNORECASE | re.VERBOSE

_ENGLISH = compile_late(
    rf"""(?:(?:answer|result|solution|option|choice)s?|ans)\b["']?
    (?:>(?<=answer>)\s*|(?:\ +(?:to|for|of)\ +(?:the|this|your)\ +{_RELATED})?
    \s*(?:(?:(?:would|should|must|can\ only|could\ only|has\ to|have\ to|ought\ to)\ (?:then\ |therefore\ |thus\ )?be
    |will\ be(?=\s{_RESULT})|is|was|are|be)
    (?:,?\ (?:therefore|thus|then|hence|clearly|simply|definitely|indeed|obviously|most\ likely|likely|actually),?)?\b
    \s*+:?
    |equals|\.?:|=|→|[-–—]\ +{_RESULT}|\n)\s*)""",
    _FLAGS,
)


def _verbal(nouns: str, adjectives: str, relations: str, verbs: str, adverbs: str) -> re.Pattern[str]:
    """Return the lead-in of a language of Europe: noun, adjectives, "to the question", verb, adverbs."""
    return compile_late(
        rf"""(?:{nouns})\b["']?(?:\ +(?:{adjectives})\b){{0,3}}(?:\ +(?:{relations})\ +{_RELATED})?
        (?:\s*(?:(?:{verbs})(?:,?\ +(?:{adverbs})\b){{0,2}},?\s*+:?|:|=|→|\n)|\ +[-–—]\ +{_RESULT}|\ +(?={_NEGATION}))
        \s*""",
        _FLAGS,
    )


_SPANISH = _verbal(
    r"respuestas?|resultados?|soluci[oó]n(?:es)?|opci(?:[oó]n|ones)|alternativa",
    r"y|correctas?|final(?:es)?|definitiva|adecuada|exacta|verdadera|buscada",
    r"al?|del?|para|en",
    r"(?:es(?:\ +igual\ +a)?|son|era|ser[íi]a|ser[áa]|(?:debe|puede|debería|ha\ +de|tiene\ +que)\ +ser)\b",
    r"por\ lo\ tanto|por\ tanto|entonces|pues|así|claramente|simplemente|exactamente|decir|la\ siguiente",
)
_GERMAN = _verbal(
    r"(?:end)?antwort(?:m[öo]glichkeit)?(?:en)?|(?:end)?ergebnis(?:se)?|l(?:ö|oe)sung|resultat|option",
    r"und|richtige|korrekte",
    r"auf|zur?|der|des|für|dieser|von",
    r"(?:ist(?:\ +gleich)?|lautet|w(?:ä|ae)re|war|sind|betr(?:ä|ae)gt|muss|kann\ nur|ergibt|entspricht|hei(?:ß|ss)t)\b",
    r"also|daher|somit|demnach|folglich|damit|deshalb|dann|nun|eindeutig|klar|wie\ folgt|genau",
)
_GERMAN_INVERTED = compile_late(  # "lautet die Antwort 18"
    rf"""(?<=die\ |das\ |ige\ |kte\ |hte\ )(?:antwort|ergebnis|l(?:ö|oe)sung)\b\s+(?:also\ +|somit\ +)?{_RESULT}""",
    _FLAGS,
)
_FRENCH = _verbal(
    r"r[ée]ponses?|r[ée]sultats?|solutions?|options?|choix|proposition",
    r"et|correcte?|finale?|bonne|exacte?|juste|attendue|recherchée",
    r"à|au|aux|de|du|pour|dans",
    r"(?:est(?:\ +égale?\ +à)?|sont|était|serait|sera|doit\ +être|vaut)\b",
    r"donc|ainsi|alors|bien|par\ conséquent|clairement|tout\ simplement|la\ suivante|c['’]est",
)
_PORTUGUESE = _verbal(
    r"respostas?|resultados?|solu[çc](?:ão|ões|ao|oes)|op[çc][ãa]o|alternativa",
    r"e|corretas?|final|definitiva|certa|adequada|exata",
    r"à|às|ao|a|da|do|de|para|em",
    r"(?:é(?:\ +igual\ +a)?|eh|são|era|seria|ser[áa]|foi|(?:deve|pode|tem\ +(?:de|que)|s[óo]\ +pode)\ +ser)(?![^\W_])",
    r"portanto|então|assim|logo|pois|claramente|simplesmente|exatamente|a\ seguinte|de",
)
_ITALIAN = _verbal(
    r"risposta|risposte|risultat[oi]|soluzion[ei]|opzion[ei]|scelta|alternativa",
    r"e|corrett[ao]|final[ei]|definitiv[ao]|giust[ao]|esatt[ao]|cercat[ao]",
    r"a|al|alla|allo|all['’]|di|del|della|per",
    r"(?:è(?:\ +(?:uguale|pari)\ +a)?|é|e['’]|sono|era|sar[àa]|sarebbe|(?:deve|dovrebbe|può)\ +essere)(?![^\W_])",
    r"quindi|dunque|perciò|pertanto|allora|chiaramente|semplicemente|esattamente|la\ seguente",
)
_RUSSIAN = compile_late(
    rf"""(?:(?:ответ|результат|решени|итог|вариант)(?:ом|ем|о|е)?)\b
    (?:\ +(?:на|к|задачи|задач[еу]|вопрос[ае]?|этот|этой|данн\w{{1,3}}|ответа)\b){{0,4}}
    (?:\ +(?={_NEGATION})|\s*(?:явля(?:ется|ются)|будет|равен|равно|составляет|составит|таков|следующий|должен\ +быть
    |(?:[-–—]\ +)?это|[-–—](?=\ )|:|=|\n)(?:\ +вариант(?:\ +ответа)?)?\s*+[:—–]?
    |\ +(?:под\ +(?:буквой|номером)\ +)?{_RESULT})\s*""",
    _FLAGS,
)
_CHINESE = compile_late(
    r"""(?:(?:答案|结果|結果|解答|答复|结论|結論|(?:正确|正確)的?(?:选项|選項|选择|選擇|说法|說法))
    \s?(?:应该是|应该为|应该选|應該是|應該為|应是|应为|应选|應為|應選|必须是|只能是|就是|便是|即为|等于|等於|是|为|為|选择|選擇
    |选|選|(?=不是|并非|並非)|:|=|→|\n)|(?<![\u3400-\u9fff])答\s?:)[\s:,]{0,4}(?:选项|選項|选择|選擇|第)?\s?""",
    re.VERBOSE,
)
_JAPANESE = compile_late(
    r"""(?:答え|答|正解|正答|解答|回答|結果|選択肢|解)(?:は|\s?:|\s?=|→|\n)[\s、,:]{0,4}
    (?:(?:次の(?:とおり|通り)|以下の(?:通り|とおり))です[。.:]?\s{0,4})?""",
    re.VERBOSE,
)
_KOREAN = compile_late(
    r"(?:최종답|정답|해답|(?<![가-힣])답[변안]?|결과값|결괏값|결과|선택지|선택)(?:은|는|이|\s?:|\s?=|→|\n)[\s,:]{0,4}"
    r"(?:다음과 같습니다[.:]?\s{0,4})?"
)
_ARABIC = compile_late(
    rf"""(?:إجابة|اجابة|جواب|نتيجة|ناتج|حل|خيار|اختيار)\b(?:\ +(?:ال(?:صحيح|نهائي|صائب|مناسب)ة?|هنا)){{0,2}}
    (?:\ +(?:على|عن|لهذا|لهذه)\ +{_RELATED})?
    \s*(?:هي|هو|يساوي|تساوي|ستكون|سيكون|تكون|يكون|:|=|\n|(?=\ ليست?\b))\s*+:?\s*""",
    re.VERBOSE,
)
_HINDI = compile_late(
    rf"""(?:उत्तर|जवाब|परिणाम|विकल्प|हल)\s?(?:(?:यह\ )?(?:है|हैं|होगा|होगी)\s?(?::|[-–—](?=\ ))|(?:है|होगा)\ +{_RESULT}
    |:|=|\n|\ +(?:{_RESULT}|(?=[("'\[$*]{{0,3}}[A-Z\d][^\s\w]{{0,3}}\sहै)|(?=[^।\n]{{1,40}}\sनहीं,?\s(?:बल्कि|वरन)))
    |(?<=सही\ उत्तर\ )(?=[^।\n]{{1,60}}\ है)|(?<=अंतिम\ उत्तर\ )(?=[^।\n]{{1,60}}\ है))\s*""",
    re.VERBOSE,
)
_WORDS: dict[str, tuple[re.Pattern[str], ...]] = {
    **dict.fromkeys(("answer", "result", "solution", "option", "choice", "ans"), (_ENGLISH,)),
    **dict.fromkeys(("respuesta", "soluci", "opci"), (_SPANISH,)),
    **dict.fromkeys(("antwort", "endergebnis", "lösung", "loesung", "ergebnis"), (_GERMAN, _GERMAN_INVERTED)),
    **dict.fromkeys(("réponse", "reponse", "résultat", "proposition", "choix"), (_FRENCH,)),
    **dict.fromkeys(("resposta", "soluç", "opç"), (_PORTUGUESE,)),
    **dict.fromkeys(("rispost", "risultat", "soluzion", "opzion", "scelta"), (_ITALIAN,)),
    **dict.fromkeys(("ответ", "результат", "решени", "итог", "вариант"), (_RUSSIAN,)),
    **dict.fromkeys(("结果", "结论", "結論", "正确", "正確"), (_CHINESE,)),
    **dict.fromkeys(("正解", "正答", "選択肢", "解は", "回答"), (_JAPANESE,)),
    **dict.fromkeys(("答", "結果", "解答"), (_CHINESE, _JAPANESE)),
    **dict.fromkeys(("답", "최종답", "정답", "해답", "결과", "결괏값", "선택"), (_KOREAN,)),
    **dict.fromkeys(("إجابة", "اجابة", "جواب", "نتيجة", "ناتج", "حل", "خيار", "اختيار"), (_ARABIC,)),
    **dict.fromkeys(("उत्तर", "जवाब", "परिणाम", "विकल्प", "हल"), (_HINDI,)),
    "resultad": (_SPANISH, _PORTUGUESE),
    "resultat": (_GERMAN, _FRENCH),
    **dict.fromkeys(("solution est", "option est", "option correcte"), (_FRENCH,)),
    **dict.fromkeys(("option ist", "option lautet"), (_GERMAN,)),
    "alternativa": (_SPANISH, _PORTUGUESE, _ITALIAN),
}
"""The beginnings of nouns, in lower case -> what introduces a result with them."""
_ASCII_WORDS = {word: patterns for word, patterns in _WORDS.items() if word.isascii()}
_LATIN_WORDS = {word: patterns for word, patterns in _WORDS.items() if max(word) < "\u0250"}
_BEYOND_LATIN = compile_late("[\u0370-\u1fff\u2e80-\uffff]")


def find_lead_ins(text: str) -> list[int]:
    """Return the places after which a result follows, in whatever language the text says so; in their order.

    Of each noun only the last MAX_LEAD_INS are looked for.
    """
    folded = _fold(text)
    ends: set[int] = set()
    for word, patterns in _words_for(text).items():
        found = 0
        at = folded.rfind(word)
        while at >= 0 and found < MAX_LEAD_INS:
            matches = _match_noun(text, folded, word, at, patterns)
            found += len(matches) > 0
            ends.update(matches)
            at = folded.rfind(word, 0, at)
    return sorted(ends)


def find_first_lead_in(text: str) -> int | None:
    """Return the first place after which a result follows, or None."""
    folded = _fold(text)
    firsts: list[int] = []
    for word, patterns in _words_for(text).items():
        at = folded.find(word)
        while at >= 0 and not (matches := _match_noun(text, folded, word, at, patterns)):
            at = folded.find(word, at + 1)
        if at >= 0:
            firsts += matches
    return min(firsts, default=None)


def _words_for(text: str) -> dict[str, tuple[re.Pattern[str], ...]]:
    """Return the nouns that can stand in a text, by its script."""
    if text.isascii():
        return _ASCII_WORDS
    return _WORDS if _BEYOND_LATIN.search(text) else _LATIN_WORDS


def _fold(text: str) -> str:
    """Return a text in lower case, each character where it was."""
    folded = text.lower()
    return folded if len(folded) == len(text) else "".join(sign.lower()[:1] for sign in text)  # İ


def _match_noun(text: str, folded: str, word: str, at: int, patterns: tuple[re.Pattern[str], ...]) -> list[int]:
    """Return where the results begin that a noun at a place introduces."""
    is_inside = word.isascii() and at > 0 and (folded[at - 1].isalnum() or folded[at - 1] == "/")
    is_named = at > 1 and folded[at - 1] == "_" and folded[at - 2].isalnum()  # a key, "diet_option": "vegan"
    if is_inside or (is_named and not folded.endswith("final_", 0, at)):
        return []
    return [m.end() for pattern in patterns if (m := pattern.match(text, at))]


CORRECTION = compile_late(
    r"""(?:ne\ |n['’])?(?:(?:est|es|è|é|son|são|sono)\ )?(?:not|nicht|no|non|pas|n[ãa]o|не)\b[^.;\n]{1,60}?[\s,]
    (?:but(?:\ rather)?|sondern|sino|mais(?:\ plutôt)?|ma|bens[ìi]|mas(?:\ sim)?|а)\s+
    |(?:不是|并非|並非)[^。\n]{1,60}?(?:而应该是|而应是|而是|應是)\s?
    |ليست?\b[^.\n]{1,60}?\bبل\s+(?:هي\ |هو\ )?
    |[^。\n]{1,40}?(?:では|じゃ)な(?:くて|く),?\s?
    |[^.\n]{1,40}?[이가]\s?아니라,?\s?
    |[^।\n]{1,60}?\sनहीं,?\s(?:बल्कि|वरन)\s""",
    _FLAGS,
)
"""What a statement first denies: "not A but" in "not A but B"."""

_OPTION_WORDS = """
    option choice letter opción opcion letra alternativa inciso respuesta réponse lettre proposition choix opção opcao
    resposta opzione lettera risposta antwortmöglichkeit antwort buchstabe auswahl вариант ответ буква пункт
    选项 選項 选择 選択肢 第 선택지 보기 الخيار خيار الإجابة الحرف حرف विकल्प"""
OPTION_NOUN = "|".join(sorted(_OPTION_WORDS.split(), key=len, reverse=True))
"""The words for an option that may stand before its label."""
_BEFORE_LABEL = compile_late(
    rf"(?:(?:the|la|le|el|il|der|die|das|den|a|o)\s|l['’])?\s?(?:{OPTION_NOUN})\s?[:.]?\s?"
    r"(?=[\"'“«「(\[{$\\<*]{0,3}[^\W_](?![^\W_]))"
    r"|(?-i:(?:la|el|le|il|der|die|das|a|o|the)\s(?=[\"'(]?[A-Z](?![^\W_])|[a-z][.)]?$))",
    re.IGNORECASE,
)
_WRAPPED_LABEL = compile_late(r"[<\[_]([A-Z])[>\]_](?![^\W_])")
_AFTER_RESULT = compile_late(
    r"(?:\s?(?:です|だ|である|となります|となる|になります|になる|でしょう"
    r"|でした|입니다|이다|이에요|예요|이 됩니다|가 됩니다|이 된다)"
    r"|\s(?:है|हैं|होगा|होगी|होंगे|sein|lauten))(?=[\s.。।!」\"')]{0,4}$)"
)
_AFTER_LABEL = compile_late(r"(?<=[A-Za-z0-9)\]」』\"'])\s?(?:选项|選項|项|項|번|番)(?=[\s.。।!]{0,3}$)")


def strip_frame(statement: str) -> str:
    """Return a result without the words of its language around it: "la opción B", "18です", "B选项"."""
    if wrapped := _WRAPPED_LABEL.match(statement):
        return wrapped[1]
    if frame := _BEFORE_LABEL.match(statement):
        statement = statement[frame.end() :]
    if statement.isascii() and not statement.rstrip(". ").endswith(("sein", "lauten")):
        return statement
    return _AFTER_LABEL.sub("", _AFTER_RESULT.sub("", statement, count=1), count=1)
