"""The activity of `social_feed` is believable."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from streamweaver_producers.social_feed import _TOPICS, SocialFeed


async def test_payload(take: Callable[..., Any]) -> None:
    """Posts, comments and likes have all fields; comments and likes refer to an earlier post and carry its hashtags."""
    tags_of: dict[str, list[str]] = {}
    kinds: Counter[str] = Counter()
    for record in await take(SocialFeed(seed=1), 20_000):
        item = record.value
        assert list(item) == [
            "timestamp",
            "user",
            "post_id",
            "content",
            "hashtags",
            "kind",
            "sentiment",
            "followers",
        ]
        assert -1 <= item["sentiment"] <= 1
        assert len(set(item["hashtags"])) == len(item["hashtags"])
        assert all(tag.startswith("#") for tag in item["hashtags"])
        kinds[item["kind"]] += 1
        if item["kind"] == "post":
            assert item["post_id"] not in tags_of
            tags_of[item["post_id"]] = item["hashtags"]
        else:
            assert tags_of[item["post_id"]] == item["hashtags"]
        assert bool(item["content"]) == (item["kind"] != "like")
    assert {kind: n / 20_000 for kind, n in kinds.items()} == pytest.approx(
        {"post": 0.4, "comment": 0.25, "like": 0.35}, abs=0.02
    )


async def test_hashtags_trend(take: Callable[..., Any]) -> None:
    """Some hashtag rises to a multiple of its usual share and fades again."""
    posts = [r.value for r in await take(SocialFeed(seed=2), 60_000) if r.value["kind"] == "post"]
    windows = [
        Counter(tag for p in posts[n : n + 500] for tag in p["hashtags"]) for n in range(0, len(posts) - 500, 500)
    ]
    risen = 0
    for tag in {tag for window in windows for tag in window}:
        counts = [window[tag] for window in windows]
        peak, usual = max(counts), sorted(counts)[len(counts) // 2]
        risen += peak > 3 * usual + 10 and counts[-1] < peak / 2
    assert risen >= 3


async def test_sentiment_fits_the_words(take: Callable[..., Any]) -> None:
    """Praise is positive, complaints are negative."""
    posts = [r.value for r in await take(SocialFeed(seed=3), 20_000) if r.value["kind"] == "post"]
    praise = [p["sentiment"] for p in posts if "love" in p["content"]]
    complaint = [p["sentiment"] for p in posts if "disaster" in p["content"]]
    assert praise
    assert min(praise) > 0.5
    assert complaint
    assert max(complaint) < -0.5


async def test_content_is_varied(take: Callable[..., Any]) -> None:
    """Posts differ, mention what keyword steps look for, and hold characters beyond ASCII at times."""
    posts = [r.value["content"] for r in await take(SocialFeed(seed=4), 10_000) if r.value["kind"] == "post"]
    assert len(set(posts)) > len(posts) / 2
    assert sum("AI" in p for p in posts) > 100
    assert sum("cloud" in p.lower() for p in posts) > 100
    assert 0.1 < sum(not p.isascii() for p in posts) / len(posts) < 0.7


async def test_few_are_heard_by_many(take: Callable[..., Any]) -> None:
    """Followers follow a power law: the most followed has a hundred times the median."""
    followers = {r.value["user"]: r.value["followers"] for r in await take(SocialFeed(seed=5), 30_000)}
    ordered = sorted(followers.values())
    assert len(ordered) > 400
    assert ordered[-1] > 100 * ordered[len(ordered) // 2]


async def test_only_the_topics_asked_for(take: Callable[..., Any]) -> None:
    """Posts keep to the chosen topics, also with a single user."""
    records = await take(SocialFeed(seed=6, topics=["ai"], users=1), 2000)
    assert {tag for r in records for tag in r.value["hashtags"]} == set(_TOPICS["ai"][1])
    assert len({r.value["user"] for r in records}) == 1


async def test_ids_stay_unique_without_a_seed(take: Callable[..., Any]) -> None:
    """After a restart without a seed no post has the id of an earlier one."""
    first = await take(SocialFeed(), 1000)
    second = await take(SocialFeed(), 1000, emitted=1000)
    ids = [{r.value["post_id"] for r in records if r.value["kind"] == "post"} for records in (first, second)]
    assert not ids[0] & ids[1]
