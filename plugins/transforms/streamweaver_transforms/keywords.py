"""How much a text is about some words."""

from typing import Any

import attrs

from streamweaver import Record, TransformContext, option, transform
from streamweaver_transforms._field import PATH, Field, finite, show
from streamweaver_transforms._words import Vocabulary


def _words(_instance: Any, _attribute: Any, value: list[str] | dict[str, float]) -> None:
    Vocabulary(value, whole=True)
    if isinstance(value, dict):
        for word, weight in value.items():
            if not (finite(weight) or 0) > 0:
                raise ValueError(f"{word}: got weight {show(weight)}, expected a number above 0")


@transform(
    "keywords",
    example="""\
use: keywords
field: content
words: {AI: 2, machine learning: 1}
threshold: 0.5
""",
)
@attrs.define
class Keywords:
    """Rate texts by the words they hold, and name these words.

    With S the sum of the weights of the words that are found, each counted once however often it stands there, the
    relevance is S / (S + 1): 0 without any, 0.5 with one of weight 1, 0.67 with two, nearer to 1 with each further
    one. So it lies in 0..1, and a longer list of words does not change what a text already has. It is rounded to four
    places.

    Case, width and form of the characters do not matter (NFKC, case folding), nor how many spaces a phrase has. A
    whole word is not part of a longer one in any script; `#AI` holds the word `AI`, and the word `#AI` is only found
    with its `#`. In scripts without spaces (Chinese, Japanese, Thai ...) a word is found wherever it stands. The field
    is a text or a list of texts.
    """

    field: str = option(help="field with the text, or a list of texts", example="content", pattern=PATH)
    words: list[str] | dict[str, float] = option(
        help="words and phrases to look for, with a weight each if they are not alike (else 1)",
        example={"AI": 2, "machine learning": 1},
        validator=_words,
    )
    into: str = option(default="relevance", help="field for the relevance", example="relevance", pattern=PATH)
    matches_into: str = option(
        default="matches", help="field for the words found, in the order of `words`", example="matches", pattern=PATH
    )
    threshold: float | None = option(
        default=None, help="drop records whose relevance is below", example=0.5, ge=0, le=1
    )
    whole_words: bool = option(default=True, help="find whole words only, not parts of longer ones", example=False)

    _field: Field = attrs.field(init=False, repr=False, eq=False)
    _into: Field = attrs.field(init=False, repr=False, eq=False)
    _matches_into: Field = attrs.field(init=False, repr=False, eq=False)
    _weights: dict[str, float] = attrs.field(init=False, repr=False, eq=False)
    _vocabulary: Vocabulary = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        self._field, self._into, self._matches_into = Field(self.field), Field(self.into), Field(self.matches_into)
        self._weights = dict(self.words) if isinstance(self.words, dict) else dict.fromkeys(self.words, 1.0)
        self._vocabulary = Vocabulary(self.words, self.whole_words)

    def process_record(self, record: Record, _context: TransformContext) -> Record | None:
        """Add relevance and matches in place, or drop the record."""
        found: set[str] = set()
        for text in self._texts(record.value):
            found |= self._vocabulary.find(text)
        weight = sum(self._weights[word] for word in self._weights if word in found)
        relevance = round(weight / (weight + 1), 4)
        if self.threshold is not None and relevance < self.threshold:
            return None
        self._into.set(record.value, relevance)
        self._matches_into.set(record.value, [word for word in self._weights if word in found])
        return record

    def _texts(self, value: Any) -> list[str]:
        held = self._field.get(value)
        texts = held if isinstance(held, list) else [held]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{self.field}: got {show(held)}, expected text or a list of texts")
        return texts
