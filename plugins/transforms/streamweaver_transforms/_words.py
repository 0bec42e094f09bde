"""Words and phrases in texts of any script."""

import re
import unicodedata
from collections.abc import Iterable

# Scripts written without spaces between words: here no boundary can be asked for.
_UNSPACED = re.compile(
    "[\u0e00-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)


def normalise(text: str) -> str:
    """Return the text in the form in which words are compared: NFKC, case folded, single spaces."""
    if text.isascii():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def _in_word(character: str) -> bool:
    # Vowel signs of many scripts are marks, which `\w` of `re` leaves out.
    return character.isalnum() or character == "_" or unicodedata.category(character)[0] == "M"


def _joined(left: str, right: str) -> bool:
    """Say whether two neighbours belong to one word."""
    return _in_word(left) and _in_word(right) and not _UNSPACED.match(left) and not _UNSPACED.match(right)


class Vocabulary:
    """A set of words and phrases that can be found in a text in one pass."""

    def __init__(self, words: Iterable[str], whole: bool) -> None:
        self._whole = whole
        self._word_of: dict[str, str] = {}
        for word in words:
            plain = normalise(word)
            if not plain:
                raise ValueError(f"got the word {word!r}, expected at least one letter")
            if plain in self._word_of:
                raise ValueError(f"got the words {self._word_of[plain]!r} and {word!r}, which are the same")
            self._word_of[plain] = word
        if not self._word_of:
            raise ValueError("got no words, expected at least one")
        plain_words = sorted(self._word_of, key=len, reverse=True)
        # Where a word is found, those that begin it are there too: `new` at the place of `new york`.
        self._begins = {word: [other for other in plain_words if word.startswith(other)] for word in plain_words}
        self._search = re.compile("|".join(map(re.escape, plain_words))).search

    def find(self, text: str) -> set[str]:
        """Return the words that the text holds, as they were given."""
        plain = normalise(text)
        found: set[str] = set()
        match = self._search(plain)
        while match:
            start = match.start()
            for word in self._begins[match[0]]:
                if word not in found and self._stands_alone(plain, start, start + len(word)):
                    found.add(word)
            # Not from the end of the match: `york times` begins within `new york`.
            match = self._search(plain, start + 1)
        return {self._word_of[word] for word in found}

    def _stands_alone(self, text: str, start: int, end: int) -> bool:
        if not self._whole:
            return True
        before = start > 0 and _joined(text[start - 1], text[start])
        return not before and not (end < len(text) and _joined(text[end - 1], text[end]))
