"""Read the weekday or month that a short text names: "It falls on a Friday.", "Сегодня пятница.", "今天星期五".

Pure.
"""

from __future__ import annotations

from routemoa.core.text.late_pattern import compile_late

__all__ = ["is_calendar_name", "read_calendar_name"]

_WEEKDAYS = """
monday lunes montag lundi segunda segunda-feira lunedì понедельник понедельника понедельнику 星期一 周一 週一 礼拜一
    禮拜一 月曜 월요일 الاثنين الإثنين सोमवार
tuesday martes dienstag mardi terça terça-feira martedì вторник вторника вторнику 星期二 周二 週二 礼拜二 禮拜二
    火曜 화요일 الثلاثاء मंगलवार
wednesday miércoles miercoles mittwoch mercredi quarta quarta-feira mercoledì среда среду среды среде
    星期三 周三 週三 礼拜三 禮拜三 水曜 수요일 الأربعاء الاربعاء बुधवार
thursday jueves donnerstag jeudi quinta quinta-feira giovedì четверг четверга четвергу 星期四 周四 週四 礼拜四 禮拜四
    木曜 목요일 الخميس गुरुवार बृहस्पतिवार वीरवार
friday viernes freitag vendredi sexta sexta-feira venerdì пятница пятницу пятницы пятнице 星期五 周五 週五 礼拜五 禮拜五
    金曜 금요일 الجمعة शुक्रवार
saturday sábado sabado samstag sonnabend samedi sabato суббота субботу субботы субботе 星期六 周六 週六 礼拜六 禮拜六
    土曜 토요일 السبت शनिवार
sunday domingo sonntag dimanche domenica воскресенье воскресенья воскресенью 星期日 星期天 周日 週日 礼拜天 禮拜天
    日曜 일요일 الأحد الاحد रविवार इतवार"""
_MONTHS = """
january enero januar jänner janvier janeiro gennaio январь января январе январю يناير जनवरी
february febrero februar février fevereiro febbraio февраль февраля феврале февралю فبراير फरवरी फ़रवरी
march marzo märz mars março март марта марте марту مارس मार्च
april abril avril aprile апрель апреля апреле апрелю أبريل ابريل अप्रैल
may mayo mai maio maggio май мая мае маю مايو मई
june junio juni juin junho giugno июнь июня июне июню يونيو जून
july julio juli juillet julho luglio июль июля июле июлю يوليو जुलाई
august agosto août август августа августе августу أغسطس अगस्त
september septiembre septembre setembro settembre сентябрь сентября сентябре сентябрю سبتمبر सितंबर सितम्बर
october octubre oktober octobre outubro ottobre октябрь октября октябре октябрю أكتوبر अक्टूबर अक्तूबर
november noviembre novembre novembro ноябрь ноября ноябре ноябрю نوفمبر नवंबर नवम्बर
december diciembre dezember décembre dezembro dicembre декабрь декабря декабре декабрю ديسمبر दिसंबर दिसम्बर"""


FIRST_JOINED = "\u0590"
"""The first letter after those of Latin, Greek and Cyrillic, with which a name is a word of its own."""


def _read_names(table: str) -> dict[str, str]:
    """Return each name of a table, and the English one; a line that is set in goes on with the names of the last."""
    rows = table.strip().replace("\n    ", " ").split("\n")
    return {name: row.split()[0] for row in rows for name in row.split()}


WEEKDAYS, MONTHS = _read_names(_WEEKDAYS), _read_names(_MONTHS)
NAMES = WEEKDAYS | MONTHS
_WORD = compile_late(r"[^\W_]+(?:-[^\W_]+)*+")
_JOINED_NAME = compile_late("|".join(sorted((n for n in NAMES if n[0] >= FIRST_JOINED), key=len, reverse=True)))
_ELSEWHERE = compile_late(
    r"(?<![^\W_])(?:before|after|until|till|since|not|no|never|later|earlier|tomorrow|yesterday|if|vor|nach|bis|seit"
    r"|nicht|kein\w{0,2}|morgen|gestern|wenn|avant|après|depuis|pas|demain|hier|antes|despu[ée]s|hasta|desde|mañana"
    r"|ayer|depois|até|n[ãa]o|amanhã|ontem|prima|dopo|fino|non|domani|ieri|до|после|не|завтра|вчера|если)(?![^\W_])"
    r"|n['’]t\b|jusqu|前|后|後|不|非|明天|昨天|明日|昨日|から|まで|ない|ません|전|후|아니|아닙|아닌|내일|어제|부터|까지"
    r"|قبل|بعد|ليس|حتى|غدا|أمس|पहले|बाद|नहीं|तक|कल"
)
"""Words with which a text may name another day than the one that it means."""
_AT_END = compile_late(r"(?:\s(?:है|में|को)){0,3}+[\s।.!]*+$")
_DIGIT = compile_late(r"\d")


def is_calendar_name(text: str) -> bool:
    """Return whether a text is nothing but the name of a weekday or month."""
    name = text.casefold().removesuffix("日")  # 金曜日
    return name in NAMES or text in NAMES  # 星期日


def read_calendar_name(sentence: str) -> str | None:
    """Return the English name of the one weekday or month that a short sentence is about, in lower case; else None.

    None, too, where it names several, a date, or a day beside ("the day after Friday").
    """
    folded = sentence.casefold()
    found = [(word[0], word.end()) for word in _WORD.finditer(folded) if word[0] in NAMES]
    if not folded.isascii():
        found += [(name[0], name.end()) for name in _JOINED_NAME.finditer(folded) if (name[0], name.end()) not in found]
    if len(found) != 1 or _ELSEWHERE.search(folded):
        return None
    name, end = found[0]
    if name in WEEKDAYS:
        return None if _DIGIT.search(folded, end) else WEEKDAYS[name]
    is_month = not _DIGIT.search(folded) and _AT_END.match(folded, end)  # "It may rain."
    return MONTHS[name] if is_month else None
