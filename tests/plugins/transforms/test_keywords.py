"""keywords: which words are found in which texts, and the relevance."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver import Record
from streamweaver.testing import FakeContext
from streamweaver_transforms.keywords import Keywords


def rate(text: Any, words: Any, **options: Any) -> Any:
    record = Keywords(field="content", words=words, **options).process_record(Record({"content": text}), FakeContext())
    return None if record is None else (record.value["relevance"], record.value["matches"])


@pytest.mark.parametrize(
    ("text", "word", "found"),
    [
        ("I like AI.", "ai", True),
        ("he said so", "ai", False),
        ("#AI is here", "AI", True),
        ("#AI is here", "#ai", True),
        ("AI is here", "#AI", False),
        ("ai_model", "ai", False),
        ("machine\n  learning!", "Machine Learning", True),
        ("machine learnings", "machine learning", False),
        ("\uff21\uff29 full width", "ai", True),
        ("Straße", "STRASSE", True),
        ("cafe\u0301 au lait", "café", True),
        ("cafe\u0301 au lait", "cafe", False),
        ("İstanbul", "i̇stanbul", True),
        ("новости: Мир.", "мир", True),
        ("мировой рынок", "мир", False),
        ("हिन्दी समाचार", "हिन्दी", True),
        ("हिन्दी समाचार", "हिन", False),
        ("বাংলাদেশ আজ", "বাংলাদেশ", True),
        ("বাংলাদেশ আজ", "বাংল", False),
        ("أخبار الذكاء الاصطناعي", "الذكاء", True),
        ("我喜欢人工智能技术", "人工智能", True),
        ("用AI写作", "AI", True),
        ("ラーメンが好き", "ラーメン", True),
        ("ผมชอบกาแฟมาก", "กาแฟ", True),
        ("인공지능 뉴스", "인공지능", True),
        ("C++ and c#", "c++", True),
        ("c#", "C#", True),
        ("🚀 launch", "🚀", True),
    ],
)
def test_whole_words_in_any_script(text: str, word: str, found: bool) -> None:
    """A word is found where it stands alone, whatever its script, case, width or form."""
    assert rate(text, [word]) == ((0.5, [word]) if found else (0.0, []))


def test_parts_of_words() -> None:
    """Without whole_words parts are found too."""
    assert rate("he said so", ["ai"], whole_words=False) == (0.5, ["ai"])


def test_overlapping_phrases_are_all_found() -> None:
    """Words within a phrase, at its beginning, and phrases that overlap each count."""
    words = ["york times", "new york", "new", "york", "new york times", "times square"]
    assert rate("The New York Times", words)[1] == ["york times", "new york", "new", "york", "new york times"]
    # The longest word at a place may be cut off by a letter that the shorter one does not reach.
    assert rate("new yorker", ["new york", "new"])[1] == ["new"]


def test_the_formula() -> None:
    """Relevance is S / (S + 1), each word counted once."""
    words = {"ai": 3, "data": 1}
    assert rate("ai ai ai", words) == (0.75, ["ai"])
    assert rate("data ai", words) == (0.8, ["ai", "data"])
    assert rate("none", words) == (0.0, [])
    assert rate("a b c", ["a", "b", "c"])[0] == 0.75


def test_lists_threshold_and_targets() -> None:
    """A list of texts is searched text by text; below the threshold a record is dropped."""
    assert rate(["#AI", "#Data"], ["ai", "data"]) == (0.6667, ["ai", "data"])
    assert rate(["new", "york"], ["new york"]) == (0.0, [])
    assert rate("one", ["one"], threshold=0.6) is None
    assert rate("one", ["one"], threshold=0.5) == (0.5, ["one"])
    record = Keywords(field="a.b", words=["x"], into="r.s", matches_into="r.m").process_record(
        Record({"a": {"b": "x"}}), FakeContext()
    )
    assert record is not None
    assert record.value == {"a": {"b": "x"}, "r": {"s": 0.5, "m": ["x"]}}


@pytest.mark.parametrize("bad", [5, None, ["a", 1], {"a": 1}])
def test_bad_records(bad: Any) -> None:
    """What is no text is an error."""
    with pytest.raises(ValueError, match=r"content: got .*, expected text or a list of texts"):
        rate(bad, ["a"])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "got no words"),
        ([" "], "got the word ' '"),
        (["AI", "ai"], "got the words 'AI' and 'ai', which are the same"),
        ({"a": 0}, "a: got weight 0, expected a number above 0"),
        ({"a": -1.5}, "a: got weight -1.5"),
        ({"a": True}, "a: got weight true"),
    ],
)
def test_mistakes_in_the_words(words: Any, text: str) -> None:
    """Words that cannot work are refused when the plugin is made."""
    with pytest.raises(ValueError) as raised:
        Keywords(field="content", words=words)
    assert text in str(raised.value)


@given(
    words=st.lists(st.text("ab c", min_size=1, max_size=4).filter(str.strip), min_size=1, max_size=6),
    text=st.text("abcAB .-", max_size=30),
)
def test_equals_a_search_word_by_word(words: list[str], text: str) -> None:
    """One pass finds what a search for each word alone would."""
    distinct = list({" ".join(word.split()): word for word in words}.values())
    plain = " ".join(text.lower().split())
    expected = []
    for word in distinct:
        wanted = " ".join(word.split())
        at = -1
        while (at := plain.find(wanted, at + 1)) >= 0:
            before, after = plain[:at][-1:], plain[at + len(wanted) :][:1]
            if not before.isalnum() and not after.isalnum():
                expected.append(word)
                break
    assert rate(text, distinct)[1] == expected


@given(st.text(max_size=60), st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=4))
def test_any_text(text: str, words: list[str]) -> None:
    """Any words and any text give a relevance in 0..1."""
    try:
        step = Keywords(field="content", words=words, whole_words=False)
    except ValueError:
        return
    record = step.process_record(Record({"content": text}), FakeContext())
    assert record is not None
    assert 0 <= record.value["relevance"] < 1
    assert (record.value["relevance"] > 0) is bool(record.value["matches"])
