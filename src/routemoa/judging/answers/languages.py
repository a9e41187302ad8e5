"""How languages say what the answer is: the words before a result ("La respuesta es"), after it ("です"), around it.

A language's patterns run only on texts that have one of its words, so English text pays for English alone.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["CORRECTION", "OPTION_NOUN", "find_lead_ins", "strip_frame"]

_RESULT = r"(?=[\"'“„«「『(\[{$\\<*]{0,4}[-+]?[€£$¥₹]?\s?(?:\d|[.,]\d|[A-Z](?![^\W_]|['’])|\\(?:boxed|text|frac)))"
"""What begins like a number, a letter or a box: it may follow "Answer" without a verb."""
_RELATED = r"[\w '’]{1,40}?"

_ENGLISH = re.compile(
    rf"""\b(?:final\ )?(?:(?:answer|result|solution|option|choice)s?|ans)\b["']?
    (?:\ +(?:to|for|of)\ +(?:the|this|your)\ +{_RELATED})?
    \s*(?:(?:(?:would|should|must|will|can\ only|could\ only|has\ to|have\ to|ought\ to)\ (?:then\ |therefore\ |thus\ )?be|is|was|are|be)
    (?:,?\ (?:therefore|thus|then|hence|clearly|simply|definitely|indeed|obviously|most\ likely|likely|actually),?)?\b
    |equals|\.?:|=|→|[-–—](?=\ )|\n)\s*|<(?:final[_ ]?)?answer>\s*""",
    re.IGNORECASE | re.VERBOSE,
)
"""The words that come before a stated result, such as "the final answer is"."""


_NEGATION = r"(?:no|non|n[ãa]o|ne|n['’]est|не)\b"


class _Language(NamedTuple):
    """How a language introduces a result."""

    words: tuple[str, ...]
    """In lower case; a text without any of them has no lead-in of this language."""
    lead_in: re.Pattern[str]


def _verbal(nouns: str, adjectives: str, relations: str, verbs: str, adverbs: str) -> re.Pattern[str]:
    """Return the lead-in of a language of Europe: noun, adjectives, "to the question", verb, adverbs."""
    return re.compile(
        rf"""(?<![^\W_])(?:{nouns})\b["']?(?:\ +(?:{adjectives})\b){{0,3}}(?:\ +(?:{relations})\ +{_RELATED})?
        (?:\s*(?:(?:{verbs})(?:,?\ +(?:{adverbs})\b){{0,2}},?\s*:?|:|=|→|\n)|\ +[-–—](?=\ )|\ +(?={_NEGATION}))\s*""",
        re.IGNORECASE | re.VERBOSE,
    )


_SPANISH = _verbal(
    r"respuestas?|resultados?|soluci[oó]n(?:es)?|opci[oó]n|alternativa",
    r"y|correctas?|final(?:es)?|definitiva|adecuada|exacta|verdadera|buscada",
    r"al?|del?|para|en",
    r"(?:es(?:\ +igual\ +a)?|son|era|ser[íi]a|ser[áa]|(?:debe|puede|debería|ha\ +de|tiene\ +que)\ +ser)\b",
    r"por\ lo\ tanto|por\ tanto|entonces|pues|así|claramente|simplemente|exactamente|decir|la\ siguiente",
)
_GERMAN = _verbal(
    r"antwort(?:m[öo]glichkeit)?|ergebnis|l(?:ö|oe)sung|resultat|endergebnis|option",
    r"und|richtige|korrekte",
    r"auf|zur?|der|des|für|dieser|von",
    r"(?:ist(?:\ +gleich)?|lautet|w(?:ä|ae)re|war|sind|betr(?:ä|ae)gt|muss|kann\ +nur|ergibt|entspricht|hei(?:ß|ss)t)\b",
    r"also|daher|somit|demnach|folglich|damit|deshalb|dann|nun|eindeutig|klar|wie\ folgt|genau",
)
_GERMAN_INVERTED = re.compile(
    rf"""(?<![^\W_])(?:ist|lautet|w(?:ä|ae)re|betr(?:ä|ae)gt|sind)\ +(?:(?:also|daher|somit|demnach|folglich|damit)\ +)?
    (?:(?:die|das|unsere|meine)\ +)?(?:(?:richtige|korrekte|endgültige|finale|gesuchte)\ +)?
    (?:antwort|ergebnis|l(?:ö|oe)sung|endergebnis|gesamtergebnis)\b(?:\s*:|\s+(?:also\ +|somit\ +)?{_RESULT.replace(" ", chr(92) + " ")})\s*""",
    re.IGNORECASE | re.VERBOSE,
)  # fmt: skip
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
    r"risposta|risposte|risultat[oi]|soluzion[ei]|opzione|scelta|alternativa",
    r"e|corrett[ao]|final[ei]|definitiv[ao]|giust[ao]|esatt[ao]|cercat[ao]",
    r"a|al|alla|allo|all['’]|di|del|della|per",
    r"(?:è(?:\ +(?:uguale|pari)\ +a)?|é|e['’]|sono|era|sar[àa]|sarebbe|(?:deve|dovrebbe|può)\ +essere)(?![^\W_])",
    r"quindi|dunque|perciò|pertanto|allora|chiaramente|semplicemente|esattamente|la\ seguente",
)
_RUSSIAN = re.compile(
    rf"""(?<![^\W_])(?:(?:ответ|результат|решени|итог|вариант)(?:ом|ем|о|е)?)\b
    (?:\ +(?:на|к|задачи|задач[еу]|вопрос[ае]?|этот|этой|данн\w{{1,3}}|ответа)\b){{0,4}}
    (?:\ +(?={_NEGATION})|\s*(?:явля(?:ется|ются)|будет|равен|равно|составляет|составит|таков|следующий|должен\ +быть|(?:[-–—]\ +)?это|[-–—](?=\ )|:|=|\n)
    (?:\ +вариант(?:\ +ответа)?)?\s*[:—–]?|\ +(?:под\ +(?:буквой|номером)\ +)?{_RESULT.replace(" ", chr(92) + " ")})\s*""",
    re.IGNORECASE | re.VERBOSE,
)
_CHINESE = re.compile(
    r"""(?:(?:答案|结果|結果|解答|答复|结论|結論|(?:正确|正確)的?(?:选项|選項|选择|選擇|说法|說法))
    \s?(?:应该是|应该为|应该选|應該是|應該為|应是|应为|应选|應為|應選|必须是|只能是|就是|便是|即为|等于|等於|是|为|為|选择|選擇|选|選|(?=不是|并非|並非)|:|=|→|\n)
    |(?<![\u3400-\u9fff])答\s?:)[\s:,]{0,4}(?:选项|選項|选择|選擇|第)?\s?""",
    re.VERBOSE,
)
_JAPANESE = re.compile(
    r"""(?:答え|答|正解|正答|解答|回答|結果|選択肢|解)(?:は|\s?:|\s?=|→|\n)[\s、,:]{0,4}
    (?:(?:次の(?:とおり|通り)|以下の(?:通り|とおり))です[。.:]?\s?)?""",
    re.VERBOSE,
)
_KOREAN = re.compile(
    r"(?<![가-힣])(?:최종 ?)?(?:올바른 ?)?(?:정답|해답|답변|답안|답|결과값|결괏값|결과|선택지|선택)(?:은|는|이|\s?:|\s?=|→|\n)[\s,:]{0,4}"
)
_ARABIC = re.compile(
    rf"""(?:إجابة|اجابة|جواب|نتيجة|ناتج|حل|خيار|اختيار)\b(?:\ +(?:ال(?:صحيح|نهائي|صائب|مناسب)ة?|هنا)){{0,2}}
    (?:\ +(?:على|عن|لهذا|لهذه)\ +{_RELATED})?\s*(?:هي|هو|يساوي|تساوي|ستكون|سيكون|تكون|يكون|:|=|\n|(?=\ ليست?\b))\s*:?\s*""",
    re.VERBOSE,
)
_HINDI = re.compile(
    rf"""(?:उत्तर|जवाब|परिणाम|विकल्प|हल)\s?(?:(?:यह\ )?(?:है|हैं|होगा|होगी)\s?(?::|[-–—](?=\ ))\s*|(?:है|होगा)\ +{_RESULT.replace(" ", chr(92) + " ")}
    |:|=|\n|\ +{_RESULT.replace(" ", chr(92) + " ")}|(?<=सही\ उत्तर\ )(?=[^।\n]{{1,60}}\ है)|(?<=अंतिम\ उत्तर\ )(?=[^।\n]{{1,60}}\ है))\s*""",
    re.VERBOSE,
)
_LANGUAGES = (
    _Language(("respuesta", "resultado", "soluci", "opci", "alternativa"), _SPANISH),
    _Language(("antwort", "ergebnis", "lösung", "loesung", "resultat"), _GERMAN),
    _Language(("antwort", "ergebnis", "lösung", "loesung"), _GERMAN_INVERTED),
    _Language(("réponse", "reponse", "résultat", "resultat", "solution", "proposition", "choix"), _FRENCH),
    _Language(("resposta", "resultado", "soluç", "opç", "alternativa"), _PORTUGUESE),
    _Language(("rispost", "risultat", "soluzion", "opzione", "scelta", "alternativa"), _ITALIAN),
    _Language(("ответ", "результат", "решени", "итог", "вариант"), _RUSSIAN),
    _Language(("答", "结果", "結果", "结论", "結論", "正确", "正確"), _CHINESE),
    _Language(("答", "正解", "正答", "結果", "選択肢", "解は"), _JAPANESE),
    _Language(("답", "결과", "결괏값", "선택"), _KOREAN),
    _Language(("إجابة", "اجابة", "جواب", "نتيجة", "ناتج", "حل", "خيار", "اختيار"), _ARABIC),
    _Language(("उत्तर", "जवाब", "परिणाम", "विकल्प", "हल"), _HINDI),
)


def find_lead_ins(text: str) -> list[re.Match[str]]:
    """Return where a text says that a result follows, in any of the languages; in no order."""
    found = list(_ENGLISH.finditer(text))
    folded = text.casefold()
    for language in _LANGUAGES:
        if any(word in folded for word in language.words):
            found += language.lead_in.finditer(text)
    return found


CORRECTION = re.compile(
    r"""(?:ne\ |n['’])?(?:(?:est|es|è|é|son|são|sono)\ )?(?:not|nicht|no|non|pas|n[ãa]o|не)\b[^.;\n]{1,60}?[\s,]
    (?:but(?:\ rather)?|sondern|sino|mais(?:\ plutôt)?|ma|bens[ìi]|mas(?:\ sim)?|а)\s+
    |(?:不是|并非|並非)[^。\n]{1,60}?(?:而应该是|而应是|而是|應是)\s?
    |ليست?\b[^.\n]{1,60}?\bبل\s+(?:هي\ |هو\ )?
    |[^。\n]{1,40}?(?:では|じゃ)な(?:くて|く),?\s?
    |[^.\n]{1,40}?[이가]\s?아니라,?\s?
    |[^।\n]{1,60}?\sनहीं,?\s(?:बल्कि|वरन)\s""",
    re.VERBOSE | re.IGNORECASE,
)
"""What a statement first denies: "not A but" in "not A but B"."""

OPTION_NOUN = (  # the words before a label
    "option|choice|letter|opción|opcion|letra|alternativa|inciso|respuesta|réponse|lettre|proposition|choix|opção|opcao"
    "|resposta|opzione|lettera|risposta|antwortmöglichkeit|antwort|buchstabe|auswahl|вариант ответа|вариант|ответ|буква"
    "|пункт|选项|選項|选择|選択肢|第|선택지|보기|الخيار|خيار|الإجابة|الحرف|حرف|विकल्प"
)
_BEFORE_LABEL = re.compile(
    rf"(?:(?:the|la|le|el|il|der|die|das|den|a|o)\s|l['’])?\s?(?:{OPTION_NOUN})\s?[:.]?\s?"
    r"(?=[\"'“«「(\[{$\\<*]{0,3}[^\W_](?![^\W_]))"
    r"|(?-i:(?:la|el|le|il|der|die|das|a|o|the)\s(?=[\"'(]?[A-Z](?![^\W_])))",
    re.IGNORECASE,
)
_AFTER_RESULT = re.compile(
    r"(?:\s?(?:です|だ|である|となります|となる|になります|になる|でしょう|でした|입니다|이다|이에요|예요|이 됩니다|가 됩니다|이 된다)"
    r"|\s(?:है|हैं|होगा|होगी|होंगे|sein|lauten))(?=[\s.。।!」\"')]{0,4}$)"
)
_AFTER_LABEL = re.compile(r"(?<=[A-Za-z0-9)\]」』\"'])\s?(?:选项|選項|项|項|번|番)(?=[\s.。!]{0,3}$)")


def strip_frame(statement: str) -> str:
    """Return a result without the words of its language around it: "la opción B", "18です", "B选项"."""
    if frame := _BEFORE_LABEL.match(statement):
        statement = statement[frame.end() :]
    if statement.isascii() and not statement.rstrip(". ").endswith(("sein", "lauten")):
        return statement
    return _AFTER_LABEL.sub("", _AFTER_RESULT.sub("", statement, count=1), count=1)
