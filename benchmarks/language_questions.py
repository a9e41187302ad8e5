"""The same seventeen short questions in eleven languages with their references, to see how models state answers.

    python benchmarks/language_questions.py > languages.jsonl
    routemoa collect languages.jsonl --pool benchmarks/languages.toml --out languages.records.jsonl.gz

Every question was written for this project, so its licence is the project's (Apache-2.0). A language is the records'
task. Nothing tells the models how to end their answers.
"""

from __future__ import annotations

import json
from typing import NamedTuple


class Texts(NamedTuple):
    """The questions of a language; {a}, {b}, {c}, {p} and {n} are numbers as the language writes them."""

    baskets: str
    price: str
    factory: str
    percent: str
    train: str
    capital_choice: str
    planet_choice: str
    gas_choice: str
    product_choice: str
    capital: str
    banana: str
    ocean: str
    options: tuple[tuple[str, ...], ...]
    """The options of the first three questions that have some."""
    facts: tuple[str, str, str]
    """The references of the last three questions."""
    decimal: str = ","


TEXTS = {
    "es": Texts(
        "Ana llena {a} cestas con {b} manzanas cada una y después se come {c}. ¿Cuántas manzanas quedan?",
        "Un cuaderno cuesta {p} euros. ¿Cuánto cuestan {n} cuadernos?",
        "Una fábrica produce {a} tornillos al día. ¿Cuántos tornillos produce en {n} días?",
        "¿Cuánto es el {a} % de {b}?",
        "Un tren recorre {a} km en {n} horas. ¿Cuál es su velocidad media en km/h?",
        "¿Cuál es la capital de Australia?",
        "¿Qué planeta está más cerca del Sol?",
        "¿Qué gas absorben las plantas en la fotosíntesis?",
        "¿Cuánto es {a} por {b}?",
        "¿Cuál es la capital de Japón?",
        "¿De qué color es un plátano maduro?",
        "¿Cuál es el océano más grande de la Tierra?",
        (
            ("Sídney", "Melbourne", "Canberra", "Perth"),
            ("Venus", "Mercurio", "Tierra", "Marte"),
            ("Oxígeno", "Nitrógeno", "Helio", "Dióxido de carbono"),
        ),
        ("Tokio", "amarillo", "Pacífico"),
    ),
    "de": Texts(
        "Anna füllt {a} Körbe mit je {b} Äpfeln und isst danach {c}. Wie viele Äpfel bleiben übrig?",
        "Ein Heft kostet {p} Euro. Wie viel kosten {n} Hefte?",
        "Eine Fabrik stellt {a} Schrauben am Tag her. Wie viele Schrauben sind es in {n} Tagen?",
        "Wie viel sind {a} % von {b}?",
        "Ein Zug fährt {a} km in {n} Stunden. Wie hoch ist seine Durchschnittsgeschwindigkeit in km/h?",
        "Was ist die Hauptstadt von Australien?",
        "Welcher Planet ist der Sonne am nächsten?",
        "Welches Gas nehmen Pflanzen bei der Photosynthese auf?",
        "Wie viel ist {a} mal {b}?",
        "Was ist die Hauptstadt von Japan?",
        "Welche Farbe hat eine reife Banane?",
        "Welcher ist der größte Ozean der Erde?",
        (
            ("Sydney", "Melbourne", "Canberra", "Perth"),
            ("Venus", "Merkur", "Erde", "Mars"),
            ("Sauerstoff", "Stickstoff", "Helium", "Kohlendioxid"),
        ),
        ("Tokio", "gelb", "Pazifik"),
    ),
    "fr": Texts(
        "Anne remplit {a} paniers de {b} pommes chacun, puis en mange {c}. Combien de pommes reste-t-il ?",
        "Un cahier coûte {p} euros. Combien coûtent {n} cahiers ?",
        "Une usine produit {a} vis par jour. Combien de vis produit-elle en {n} jours ?",
        "Combien font {a} % de {b} ?",
        "Un train parcourt {a} km en {n} heures. Quelle est sa vitesse moyenne en km/h ?",
        "Quelle est la capitale de l'Australie ?",
        "Quelle planète est la plus proche du Soleil ?",
        "Quel gaz les plantes absorbent-elles pendant la photosynthèse ?",
        "Combien font {a} fois {b} ?",
        "Quelle est la capitale du Japon ?",
        "De quelle couleur est une banane mûre ?",
        "Quel est le plus grand océan de la Terre ?",
        (
            ("Sydney", "Melbourne", "Canberra", "Perth"),
            ("Vénus", "Mercure", "Terre", "Mars"),
            ("Oxygène", "Azote", "Hélium", "Dioxyde de carbone"),
        ),
        ("Tokyo", "jaune", "Pacifique"),
    ),
    "pt": Texts(
        "Ana enche {a} cestas com {b} maçãs cada uma e depois come {c}. Quantas maçãs sobram?",
        "Um caderno custa {p} euros. Quanto custam {n} cadernos?",
        "Uma fábrica produz {a} parafusos por dia. Quantos parafusos produz em {n} dias?",
        "Quanto é {a} % de {b}?",
        "Um trem percorre {a} km em {n} horas. Qual é a sua velocidade média em km/h?",
        "Qual é a capital da Austrália?",
        "Qual planeta está mais perto do Sol?",
        "Que gás as plantas absorvem na fotossíntese?",
        "Quanto é {a} vezes {b}?",
        "Qual é a capital do Japão?",
        "De que cor é uma banana madura?",
        "Qual é o maior oceano da Terra?",
        (
            ("Sydney", "Melbourne", "Camberra", "Perth"),
            ("Vênus", "Mercúrio", "Terra", "Marte"),
            ("Oxigênio", "Nitrogênio", "Hélio", "Dióxido de carbono"),
        ),
        ("Tóquio", "amarela", "Pacífico"),
    ),
    "it": Texts(
        "Anna riempie {a} cesti con {b} mele ciascuno e poi ne mangia {c}. Quante mele restano?",
        "Un quaderno costa {p} euro. Quanto costano {n} quaderni?",
        "Una fabbrica produce {a} viti al giorno. Quante viti produce in {n} giorni?",
        "Quanto fa il {a} % di {b}?",
        "Un treno percorre {a} km in {n} ore. Qual è la sua velocità media in km/h?",
        "Qual è la capitale dell'Australia?",
        "Quale pianeta è il più vicino al Sole?",
        "Quale gas assorbono le piante nella fotosintesi?",
        "Quanto fa {a} per {b}?",
        "Qual è la capitale del Giappone?",
        "Di che colore è una banana matura?",
        "Qual è l'oceano più grande della Terra?",
        (
            ("Sydney", "Melbourne", "Canberra", "Perth"),
            ("Venere", "Mercurio", "Terra", "Marte"),
            ("Ossigeno", "Azoto", "Elio", "Anidride carbonica"),
        ),
        ("Tokyo", "gialla", "Pacifico"),
    ),
    "ru": Texts(
        "Анна наполняет {a} корзин по {b} яблок в каждой, а потом съедает {c}. Сколько яблок осталось?",
        "Тетрадь стоит {p} евро. Сколько стоят {n} тетрадей?",
        "Завод выпускает {a} винтов в день. Сколько винтов он выпустит за {n} дней?",
        "Сколько будет {a} % от {b}?",
        "Поезд проезжает {a} км за {n} ч. Какова его средняя скорость в км/ч?",
        "Какой город является столицей Австралии?",
        "Какая планета ближе всего к Солнцу?",
        "Какой газ поглощают растения при фотосинтезе?",
        "Сколько будет {a} умножить на {b}?",
        "Какой город является столицей Японии?",
        "Какого цвета спелый банан?",
        "Какой океан самый большой на Земле?",
        (
            ("Сидней", "Мельбурн", "Канберра", "Перт"),
            ("Венера", "Меркурий", "Земля", "Марс"),
            ("Кислород", "Азот", "Гелий", "Углекислый газ"),
        ),
        ("Токио", "жёлтый", "Тихий"),
    ),
    "zh": Texts(
        "安娜装了{a}个篮子，每个篮子放{b}个苹果，然后吃了{c}个。还剩多少个苹果？",
        "一本笔记本{p}元。{n}本笔记本多少钱？",
        "一家工厂每天生产{a}个螺丝。{n}天生产多少个螺丝？",
        "{b}的{a}%是多少？",
        "一列火车{n}小时行驶{a}公里。它的平均速度是每小时多少公里？",
        "澳大利亚的首都是哪里？",
        "哪颗行星离太阳最近？",
        "植物在光合作用中吸收哪种气体？",
        "{a}乘以{b}等于多少？",
        "日本的首都是哪里？",
        "成熟的香蕉是什么颜色？",
        "地球上最大的海洋是哪个？",
        (
            ("悉尼", "墨尔本", "堪培拉", "珀斯"),
            ("金星", "水星", "地球", "火星"),
            ("氧气", "氮气", "氦气", "二氧化碳"),
        ),
        ("东京", "黄色", "太平洋"),
        ".",
    ),
    "ja": Texts(
        "アンナは{a}個のかごにりんごを{b}個ずつ入れ、そのあと{c}個食べました。りんごは何個残っていますか。",
        "ノートは1冊{p}ユーロです。{n}冊ではいくらですか。",
        "ある工場は1日に{a}本のねじを作ります。{n}日間で何本のねじを作りますか。",
        "{b}の{a}%はいくつですか。",
        "電車が{n}時間で{a}km走ります。平均の速さは時速何kmですか。",
        "オーストラリアの首都はどこですか。",
        "太陽に最も近い惑星はどれですか。",
        "植物が光合成で吸収する気体はどれですか。",
        "{a}かける{b}はいくつですか。",
        "日本の首都はどこですか。",
        "熟したバナナは何色ですか。",
        "地球で一番大きい海はどれですか。",
        (
            ("シドニー", "メルボルン", "キャンベラ", "パース"),
            ("金星", "水星", "地球", "火星"),
            ("酸素", "窒素", "ヘリウム", "二酸化炭素"),
        ),
        ("東京", "黄色", "太平洋"),
        ".",
    ),
    "ko": Texts(
        "안나는 바구니 {a}개에 사과를 {b}개씩 담은 다음 {c}개를 먹었습니다. 남은 사과는 몇 개입니까?",
        "공책 한 권은 {p}유로입니다. 공책 {n}권은 얼마입니까?",
        "어떤 공장은 하루에 나사 {a}개를 만듭니다. {n}일 동안 나사를 몇 개 만듭니까?",
        "{b}의 {a}%는 얼마입니까?",
        "기차가 {n}시간 동안 {a}km를 달립니다. 평균 속력은 시속 몇 km입니까?",
        "호주의 수도는 어디입니까?",
        "태양에 가장 가까운 행성은 무엇입니까?",
        "식물이 광합성할 때 흡수하는 기체는 무엇입니까?",
        "{a} 곱하기 {b}은 얼마입니까?",
        "일본의 수도는 어디입니까?",
        "익은 바나나는 무슨 색입니까?",
        "지구에서 가장 큰 바다는 무엇입니까?",
        (
            ("시드니", "멜버른", "캔버라", "퍼스"),
            ("금성", "수성", "지구", "화성"),
            ("산소", "질소", "헬륨", "이산화탄소"),
        ),
        ("도쿄", "노란색", "태평양"),
        ".",
    ),
    "ar": Texts(
        "تملأ آنا {a} سلال في كل منها {b} تفاحة ثم تأكل {c}. كم تفاحة تبقى؟",
        "ثمن الدفتر {p} يورو. كم ثمن {n} دفاتر؟",
        "ينتج مصنع {a} برغي في اليوم. كم برغيًا ينتج في {n} يومًا؟",
        "كم يساوي {a}٪ من {b}؟",
        "يقطع قطار {a} كم في {n} ساعات. ما سرعته المتوسطة بالكيلومتر في الساعة؟",
        "ما هي عاصمة أستراليا؟",
        "أي كوكب هو الأقرب إلى الشمس؟",
        "ما الغاز الذي تمتصه النباتات في التمثيل الضوئي؟",
        "كم يساوي {a} ضرب {b}؟",
        "ما هي عاصمة اليابان؟",
        "ما لون الموز الناضج؟",
        "ما هو أكبر محيط على الأرض؟",
        (
            ("سيدني", "ملبورن", "كانبرا", "بيرث"),
            ("الزهرة", "عطارد", "الأرض", "المريخ"),
            ("الأكسجين", "النيتروجين", "الهيليوم", "ثاني أكسيد الكربون"),
        ),
        ("طوكيو", "أصفر", "الهادئ"),
        ".",
    ),
    "hi": Texts(
        "अन्ना {a} टोकरियों में {b}-{b} सेब भरती है और फिर {c} सेब खा लेती है। कितने सेब बचते हैं?",
        "एक कॉपी की कीमत {p} यूरो है। {n} कॉपियों की कीमत कितनी होगी?",
        "एक कारखाना रोज़ {a} पेंच बनाता है। {n} दिनों में वह कितने पेंच बनाएगा?",
        "{b} का {a}% कितना होता है?",
        "एक रेलगाड़ी {n} घंटे में {a} किमी चलती है। उसकी औसत चाल किमी प्रति घंटा में कितनी है?",
        "ऑस्ट्रेलिया की राजधानी क्या है?",
        "सूर्य के सबसे निकट कौन सा ग्रह है?",
        "प्रकाश संश्लेषण में पौधे कौन सी गैस लेते हैं?",
        "{a} गुणा {b} कितना होता है?",
        "जापान की राजधानी क्या है?",
        "पके केले का रंग क्या होता है?",
        "पृथ्वी का सबसे बड़ा महासागर कौन सा है?",
        (
            ("सिडनी", "मेलबर्न", "कैनबरा", "पर्थ"),
            ("शुक्र", "बुध", "पृथ्वी", "मंगल"),
            ("ऑक्सीजन", "नाइट्रोजन", "हीलियम", "कार्बन डाइऑक्साइड"),
        ),
        ("टोक्यो", "पीला", "प्रशांत"),
        ".",
    ),
}


def numeric_questions(texts: Texts, turn: int) -> list[tuple[str, str]]:
    """Each question with its reference; `turn` 0 or 1 gives the numbers."""
    a, b, c = ((7, 12, 5), (9, 15, 8))[turn]
    price, count = ((2.35, 3), (1.75, 6))[turn]
    daily, days = ((1250, 14), (48000, 25))[turn]
    share, whole = ((15, 240), (35, 900))[turn]
    distance, hours = ((450, 6), (270, 4))[turn]
    written = f"{price:.2f}".replace(".", texts.decimal)
    return [
        (texts.baskets.format(a=a, b=b, c=c), f"{a * b - c}"),
        (texts.price.format(p=written, n=count), f"{price * count:.2f}"),
        (texts.factory.format(a=daily, n=days), f"{daily * days}"),
        (texts.percent.format(a=share, b=whole), f"{share * whole / 100:g}"),
        (texts.train.format(a=distance, n=hours), f"{distance / hours:g}"),
    ]


def choice_questions(texts: Texts) -> list[tuple[str, str]]:
    """Each question with its letter."""
    asked = (texts.capital_choice, texts.planet_choice, texts.gas_choice, texts.product_choice.format(a=7, b=8))
    options = (*texts.options, ("54", "56", "58", "64"))
    listed = ["\n".join(f"{letter}. {text}" for letter, text in zip("ABCD", four, strict=True)) for four in options]
    return [(f"{question}\n{list_}", letter) for question, list_, letter in zip(asked, listed, "CBDB", strict=True)]


def main() -> None:
    for language, texts in TEXTS.items():
        numeric = [*numeric_questions(texts, 0), *numeric_questions(texts, 1)]
        facts = zip((texts.capital, texts.banana, texts.ocean), texts.facts, strict=True)
        kinds = [("numeric", numeric), ("choice", choice_questions(texts)), ("contains", list(facts))]
        for grader, questions in kinds:
            for i, (query, reference) in enumerate(questions):
                row = {"id": f"{language}-{grader}-{i}", "task": language, "query": query}
                print(json.dumps(row | {"reference": reference, "grader": grader}, ensure_ascii=False))


if __name__ == "__main__":
    main()
