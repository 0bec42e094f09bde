"""The producer `social_feed`: posts, comments and likes of people who follow trends."""

import collections
import math
from collections.abc import Iterator
from random import Random
from typing import Any

import attrs

from streamweaver import ProducerContext, Record, option, producer
from streamweaver_producers._simulation import resumed, stamped, zipf

# Of each topic: what is talked about, and its hashtags.
_TOPICS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "ai": (
        ("the new AI model", "machine learning", "our AI assistant", "prompt engineering", "open-weight models"),
        ("#AI", "#MachineLearning", "#LLM", "#DeepLearning"),
    ),
    "cloud": (
        ("our cloud migration", "Kubernetes", "serverless", "the cloud bill", "edge computing"),
        ("#Cloud", "#DevOps", "#Kubernetes", "#Serverless"),
    ),
    "data": (
        ("streaming data", "Kafka", "our data lake", "real-time analytics", "that SQL query"),
        ("#BigData", "#Kafka", "#Streaming", "#Analytics"),
    ),
    "security": (
        ("zero trust", "the latest breach", "passkeys", "phishing mail", "security patching"),
        ("#CyberSecurity", "#InfoSec", "#Privacy"),
    ),
    "markets": (
        ("the stock market", "earnings season", "interest rates", "tech stocks", "my portfolio"),
        ("#Stocks", "#Investing", "#Markets"),
    ),
    "climate": (
        ("solar power", "electric cars", "the heat wave", "battery storage", "green hydrogen"),
        ("#Climate", "#GreenTech", "#EV"),
    ),
    "sport": (
        ("the final", "that last-minute goal", "marathon training", "the transfer rumours"),
        ("#Football", "#Running", "#Sports"),
    ),
    "life": (
        ("café culture", "my sourdough", "remote work", "the new phone", "this weekend"),
        ("#Coffee", "#WorkLife", "#Monday", "#Weekend"),
    ),
}
# How it is said, with the sentiment it carries.
_SAYINGS: tuple[tuple[float, str], ...] = (
    (0.9, "Absolutely love {}! {}"),
    (0.8, "{} just made my day. {}"),
    (0.7, "Huge step forward for {}. {}"),
    (0.6, "Really impressed by {}, {}"),
    (0.4, "Finally trying {}, {}"),
    (0.2, "Quick notes on {}: {}"),
    (0.0, "What does everybody think of {}? {}"),
    (0.0, "Reading about {} today, {}"),
    (-0.1, "Unpopular opinion about {}: {}"),
    (-0.3, "Not so sure about {} any more, {}"),
    (-0.5, "{} again … {}"),
    (-0.7, "So disappointed by {}. {}"),
    (-0.9, "{} is a disaster, honestly. {}"),
)
_ENDINGS: dict[int, tuple[str, ...]] = {
    1: (
        "cannot wait for more",
        "highly recommended",
        "what a time to be alive",
        "big thanks to the team",
        "más, por favor",
    ),
    0: ("thread follows", "more on that later", "your thoughts?", "still learning", "mal sehen"),
    -1: ("we deserve better", "back to the drawing board", "never again", "somebody fix this please", "quel dommage"),
}
_EMOJI: dict[int, tuple[str, ...]] = {
    1: ("🚀", "🔥", "😍", "🎉", "👏"),
    0: ("🤔", "👀", "🧵", "☕"),
    -1: ("😡", "💔", "😞", "🙄"),
}
_REPLIES: tuple[tuple[float, str], ...] = (
    (0.8, "Totally agree!"),
    (0.7, "This is great news 🎉"),
    (0.5, "Thanks for sharing"),
    (0.1, "Do you have a source for that?"),
    (0.0, "Interesting take"),
    (-0.3, "I am not convinced"),
    (-0.6, "Hard disagree on this one"),
    (-0.8, "This is just wrong 🙄"),
)
_FIRST = (
    "alex",
    "maria",
    "chen",
    "fatima",
    "john",
    "priya",
    "lucas",
    "sofia",
    "yuki",
    "omar",
    "emma",
    "noah",
    "zoë",
    "ivan",
    "léa",
)
_LAST = ("dev", "data", "codes", "smith", "garcia", "wang", "khan", "müller", "writes", "labs", "rossi", "silva")
_RECENT = 400
"""Posts that are still commented on and liked."""
_LIFETIME = 12
"""A trend is over after so many times the span of its rise."""


@attrs.define(eq=False)
class Trend:
    """A hashtag that rises quickly and fades slowly."""

    topic: str
    tag: str
    rise: int
    """Posts until its peak."""
    height: float
    age: int = 0

    @property
    def strength(self) -> float:
        """How strongly it draws: 0 at its birth, `height` at its peak."""
        return self.height * self.age / self.rise * math.exp(1 - self.age / self.rise)


@producer("social_feed", resumes=True, key="user", example="{use: social_feed, to: social_feed, rate: 200}")
@attrs.define
class SocialFeed:
    """Synthetic posts, comments and likes, with hashtags that trend and fade.

    `{"timestamp", "user", "post_id", "content", "hashtags", "kind": "post" | "comment" | "like", "sentiment",
    "followers"}`. Comments and likes carry the `post_id` of an earlier post, and its hashtags; a like has no
    content. `sentiment` is a hint from -1 to 1, `followers` how many follow the user: few have very many, and those
    are heard, answered and liked most.

    With a `seed` all but the timestamps is always the same, and a restart goes on with the next record; for that the
    sequence is made again up to there, which takes a few seconds for a million records.
    """

    users: int = option(default=500, help="how many people take part", example=50, ge=1, le=1_000_000)
    topics: list[str] = option(
        factory=lambda: list(_TOPICS),
        help="what they talk about",
        example=["ai", "cloud"],
        choices=tuple(_TOPICS),
        min_length=1,
    )
    trend_posts: int = option(
        default=300,
        help="posts that a trend needs to its peak, on average; a new one begins as often",
        example=100,
        ge=10,
    )
    seed: int | None = option(default=None, help="makes the same records every time", example=42)

    _payloads: Iterator[dict[str, Any]] = attrs.field(factory=lambda: iter(()), init=False, repr=False, eq=False)

    async def open(self, context: ProducerContext) -> None:
        """Begin, or go on with the sequence of a seed."""
        # Without a seed nothing is made again; the ids go on where they were all the same.
        number = 0 if self.seed is not None else context.emitted
        self._payloads = await resumed(self._activity(Random(self.seed), number), self.seed, context)

    def produce(self, context: ProducerContext) -> Iterator[Record]:
        """Make posts, comments and likes without end."""
        return stamped(self._payloads, context)

    def _activity(self, rng: Random, number: int) -> Iterator[dict[str, Any]]:
        random = rng.random
        users = [(_user_name(rng, n), int(200_000 / (n + 1) ** 0.9) + rng.randint(3, 90)) for n in range(self.users)]
        heard = zipf(self.users, 0.6)
        talk = Talk(self.topics, self.trend_posts, rng)
        posts: collections.deque[tuple[str, list[str]]] = collections.deque(maxlen=_RECENT)
        while True:
            for user, followers in rng.choices(users, cum_weights=heard, k=256):
                kind = random()
                if kind < 0.4 or not posts:
                    number += 1
                    content, tags, sentiment = talk.post()
                    post_id, kind_name = f"post_{number:08d}", "post"
                    # What many hear comes up for answers more often.
                    posts.extend([(post_id, tags)] * (1 + (followers > 5000) + (followers > 50_000)))
                else:
                    # The newest are answered most.
                    post_id, tags = posts[-1 - int(len(posts) * random() ** 3)]
                    if kind < 0.65:
                        kind_name = "comment"
                        sentiment, content = _REPLIES[int(random() * len(_REPLIES))]
                    else:
                        kind_name, content, sentiment = "like", "", 0.5
                yield {
                    "timestamp": "",
                    "user": user,
                    "post_id": post_id,
                    "content": content,
                    "hashtags": list(tags),
                    "kind": kind_name,
                    "sentiment": sentiment,
                    "followers": followers,
                }


class Talk:
    """What posts are about at the moment, and in which words."""

    def __init__(self, topics: list[str], trend_posts: int, rng: Random) -> None:
        self._topics, self._trend_posts, self._rng = topics, trend_posts, rng
        self._trends: list[Trend] = []

    def post(self) -> tuple[str, list[str], float]:
        """Return the content, hashtags and sentiment of a new post."""
        rng = self._rng
        random = rng.random
        trend = self._pick_trend()
        topic = trend.topic if trend else self._topics[int(random() * len(self._topics))]
        subjects, tags = _TOPICS[topic]
        sentiment, saying = _SAYINGS[int(random() * len(_SAYINGS))]
        mood = (sentiment > 0.3) - (sentiment < -0.2)
        endings, emoji = _ENDINGS[mood], _EMOJI[mood]
        text = saying.format(subjects[int(random() * len(subjects))], endings[int(random() * len(endings))])
        text = text[0].upper() + text[1:]
        if random() < 0.3:
            text += f" {emoji[int(random() * len(emoji))]}"
        used = [trend.tag] if trend else []
        if not used or random() < 0.4:
            other = tags[int(random() * len(tags))]
            used += [] if other in used else [other]
        if random() < 0.12 and not trend:
            used = []
        elif random() < 0.7:
            text += " " + " ".join(used)
        return text, used, round(max(-1.0, min(1.0, sentiment + rng.uniform(-0.1, 0.1))), 2)

    def _pick_trend(self) -> Trend | None:
        """Let the trends age, and choose one by its strength, or none."""
        rng = self._rng
        if rng.random() < 1 / self._trend_posts or not self._trends:
            topic = rng.choice(self._topics)
            rise = max(3, int(self._trend_posts * rng.uniform(0.5, 1.5)))
            self._trends.append(Trend(topic, rng.choice(_TOPICS[topic][1]), rise, rng.uniform(0.3, 1.5)))
        for trend in self._trends:
            trend.age += 1
        self._trends = [t for t in self._trends if t.age < t.rise * _LIFETIME]
        strengths = [t.strength for t in self._trends]
        at = rng.random() * (1 + sum(strengths))
        for trend, strength in zip(self._trends, strengths, strict=True):
            at -= strength
            if at < 0:
                return trend
        return None


def _user_name(rng: Random, number: int) -> str:
    return f"{rng.choice(_FIRST)}_{rng.choice(_LAST)}{number}"
