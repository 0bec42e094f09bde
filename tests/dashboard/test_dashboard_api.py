"""The HTTP API over real sockets: the pipeline, its topics, its dead letters, health and alerts."""

import asyncio
import http.server
import json
import threading
from collections import Counter

import msgspec
import pytest

from core.runtime.runtime_kit import open_readers
from streamweaver import Rows
from streamweaver.runtime.dead_letter import DeadLetter, to_rows
from streamweaver_dashboard import page
from streamweaver_dashboard.hub import now_ms


def order(symbol, price, **more):
    return {"symbol": symbol, "price": price, **more}


async def test_the_pipeline_is_described(dashboard):
    """Stages, topics (the pipeline's own too), options, guarantees and panels are told."""
    async with dashboard() as running:
        told = (await running.fetch("/api/pipeline")).json
        assert [stage["name"] for stage in told["stages"]] == ["source", "priced", "live"]
        priced = told["stages"][1]
        assert (priced["inputs"], priced["output"], priced["replay_topic"]) == (
            ["orders"],
            "sold",
            "shop.priced.replay",
        )
        assert priced["steps"][0]["plugin"]["use"] == "stamp"
        roles = {topic["name"]: topic["role"] for topic in told["topics"]}
        assert roles["orders"] == "data"
        assert roles["shop.dead_letters"] == "dead_letters"
        assert roles["shop.settled_letters"] == "settled_letters"
        prices = next(panel for panel in told["panels"] if panel["id"] == "prices")
        assert (prices["from"], prices["y"], prices["by"], prices["span_seconds"]) == (
            "orders",
            ["price"],
            "symbol",
            60,
        )


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/stages/nobody", "unknown_stage"),
        ("/api/topics/nothing", "unknown_topic"),
        ("/api/topics/nothing/records", "unknown_topic"),
        ("/api/panels/nothing/history?start=1&end=2", "unknown_panel"),
        ("/api/dead-letters/0:99", "unknown_letter"),
        ("/api/nothing", "unknown_path"),
        ("/../../etc/passwd", "unknown_path"),
        ("/assets/%2e%2e/%2e%2e/page.py", "unknown_path"),
    ],
)
async def test_what_there_is_not_is_404_with_a_code(dashboard, path, code):
    """An unknown name is an error for people and for programs."""
    async with dashboard() as running:
        answer = await running.fetch(path)
        assert (answer.status, answer.json["error"]["code"]) == (404, code)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=9999",
        "offset=5",
        "partition=7",
        "partition=0&offset=99",
        "where=[1]",
        "where=nonsense",
        "time=soon",
        "from=middle",
        "next=abc",
        "next=9:1",
        "text=" + "x" * 300,
        'where={"a":{"b":1}}',
    ],
)
async def test_a_wrong_question_is_400_and_says_why(dashboard, query):
    """Whatever is wrong with a query is said, with what was expected."""
    async with dashboard() as running:
        answer = await running.fetch(f"/api/topics/orders/records?{query}")
        assert (answer.status, answer.json["error"]["code"]) == (400, "bad_request")
        assert answer.json["error"]["message"]


async def test_a_stage_is_described_with_its_past(dashboard):
    """A stage's offsets, newest figures and last minutes are told."""
    async with dashboard() as running:
        await running.append("orders", [order("A", 1)] * 3)
        summary = {"p50": 1.0, "p90": 2.0, "p99": 3.0, "max": 4.0}
        for second in range(3):
            at = now_ms() - (2 - second) * 1_000
            figures = {"health": "ok", "activity": "x", "in_per_second": second, "out_per_second": 1, "errors": second}
            stage = {**figures, "processing_ms": summary, "latency_ms": summary}
            await running.append("shop.metrics", [{"time": at, "stages": {"priced": stage}}], times=[at])
        told = (await running.fetch("/api/stages/priced")).json
        assert [(i["partition"], i["begin"], i["end"], i["committed"]) for i in told["inputs"]] == [
            (0, 0, 3, None),
            (1, 0, 0, None),
        ]
        assert told["history"]["in_per_second"] == [0, 1, 2]
        assert told["history"]["latency_p99"] == [3.0] * 3
        assert told["now"]["errors_per_second"] == pytest.approx(1, rel=0.1)


async def test_records_are_paged_from_anywhere(dashboard):
    """From the end, the start, an offset or a time, and on from there, each record comes exactly once."""
    async with dashboard() as running:
        first = now_ms()
        await running.append("orders", [order("A", n) for n in range(30)], times=range(first, first + 30))
        await running.append("orders", [order("B", n) for n in range(20)], partition=1, times=range(first, first + 20))

        async def records(query):
            answer = await running.fetch(f"/api/topics/orders/records?{query}")
            assert answer.status == 200, answer.body
            return answer.json

        def places(told):
            return list(zip(told["records"]["partition"], told["records"]["offset"], strict=True))

        newest = await records("limit=5")
        assert places(newest) == [(0, n) for n in range(25, 30)]
        assert not newest["more"]
        await running.append("orders", [order("C", 1)])
        assert places(await records(f"next={newest['next']}")) == [(0, 30)]
        assert places(await records("partition=0&offset=7&limit=2")) == [(0, 7), (0, 8)]
        assert places(await records(f"time={first + 18}&partition=1")) == [(1, 18), (1, 19)]
        seen, query = [], "from=start&limit=7"
        while True:
            told = await records(query)
            seen += places(told)
            if not told["more"]:
                break
            query = f"limit=7&next={told['next']}"
        assert sorted(seen) == sorted([(0, n) for n in range(31)] + [(1, n) for n in range(20)])


async def test_records_are_filtered(dashboard):
    """By fields and by text; what is scanned is told."""
    async with dashboard() as running:
        await running.append("orders", [order("A", n, note=f"Note {n}") for n in range(100)])
        told = (await running.fetch('/api/topics/orders/records?from=start&where={"price":[3,50]}')).json
        assert told["records"]["offset"] == [3, 50]
        assert told["scanned"] == 100
        told = (await running.fetch("/api/topics/orders/records?text=note%2099")).json
        assert told["records"]["offset"] == [99]


async def test_large_and_broken_values_come_raw(dashboard):
    """What is too large or cannot be decoded is told with its beginning, and does no harm to its neighbours."""
    async with dashboard() as running:
        await running.append("orders", [order("A", 1), order("x" * 2_000_000, 2), b"{broken", None])
        records = (await running.fetch("/api/topics/orders/records")).json["records"]
        assert records["value"] == [order("A", 1), None, None, None]
        assert [(raw["why"], index) for index, raw in records["raw"].items()] == [("large", "1"), ("undecodable", "2")]
        assert records["raw"]["2"]["text"] == "{broken"


async def test_a_panel_is_shown_over_past_time(dashboard):
    """A line over any span of time has the points of the records of that time."""
    async with dashboard() as running:
        start = now_ms() - 600_000
        values = [order("A", n) for n in range(60)]
        await running.append("orders", values, times=[start + n * 10_000 for n in range(60)])
        told = (await running.fetch(f"/api/panels/prices/history?start={start + 100_000}&end={start + 200_000}")).json
        assert told["complete"]
        assert [y for y in told["data"]["last"][0] if y is not None] == list(range(10, 20))
        assert (await running.fetch("/api/panels/prices/history?start=5&end=4")).status == 400


# -- dead letters ---------------------------------------------------------------------------------


def letter(number, **more):
    what = {"stage": "priced", "step": "stamp", "error": "BadRecord", "reason": f"price is bad: {number}"} | more
    value = json.dumps(order("A", "bad")).encode()
    return DeadLetter(
        **what,
        tries=1,
        failed_at=now_ms(),
        topic="orders",
        partition=0,
        offset=number,
        timestamp=5,
        key=b"A",
        value=value,
    )


async def put_letters(running, *letters):
    unit = running.broker.begin()
    unit.append("shop.dead_letters", 0, to_rows(list(letters)))
    await unit.commit()


async def test_dead_letters_are_listed_with_sums(dashboard):
    """Newest first, filtered, paged; sums are over all that wait."""
    async with dashboard() as running:
        await put_letters(running, *(letter(n) for n in range(5)), letter(9, error="CodecError", stage="live"))
        told = (await running.fetch("/api/dead-letters?limit=2")).json
        assert [found["offset"] for found in told["letters"]] == [9, 4]
        assert told["counts"] == {
            "waiting": 6,
            "stages": {"priced": 5, "live": 1},
            "errors": {"BadRecord": 5, "CodecError": 1},
        }
        assert told["more"]
        told = (await running.fetch(f"/api/dead-letters?limit=3&before={told['next']}")).json
        assert [found["offset"] for found in told["letters"]] == [3, 2, 1]
        told = (await running.fetch("/api/dead-letters?error=CodecError&reason=PRICE")).json
        assert [found["offset"] for found in told["letters"]] == [9]


async def test_a_dead_letter_is_fixed_and_replayed_once(dashboard):
    """A dry run changes nothing; a replay with a new value reaches the replay topic; a second one does nothing."""
    async with dashboard() as running:
        await put_letters(running, letter(1), letter(2))
        found = (await running.fetch("/api/dead-letters/0:0")).json
        assert found["value"] == order("A", "bad")
        assert found["editable"]
        body = {"ids": ["0:0"], "edit": {"0:0": {"value": order("A", 12.5)}}, "dry_run": True}
        told = (await running.fetch("/api/dead-letters/replay", method="POST", body=body)).json
        assert (told["done"], told["dry_run"], told["stages"]) == (1, True, {"priced": 1})
        replayed = "/api/topics/shop.priced.replay/records"
        assert (await running.fetch(replayed)).json["records"]["value"] == []
        for done in (1, 0):
            told = (await running.fetch("/api/dead-letters/replay", method="POST", body=body | {"dry_run": False})).json
            assert told["done"] == done
        assert told["refused"] == [{"id": "0:0", "why": "it was dealt with before"}]
        assert (await running.fetch(replayed)).json["records"]["value"] == [order("A", 12.5)]
        assert [found["id"] for found in (await running.fetch("/api/dead-letters")).json["letters"]] == ["0:1"]
        states = {f["id"]: f["state"] for f in (await running.fetch("/api/dead-letters?state=all")).json["letters"]}
        assert states == {"0:0": "replayed", "0:1": "waiting"}


async def test_many_letters_are_fixed_as_fast_as_one(dashboard, monkeypatch):
    """The topic is read to see which are meant, and to replay all, those with a new value too, in one unit of work."""
    async with dashboard() as running:
        await put_letters(running, *(letter(n) for n in range(5)))
        plain_begin, plain_reader, calls = type(running.broker).begin, type(running.broker).reader, Counter()

        def begin(broker):
            calls["units"] += 1
            return plain_begin(broker)

        async def reader(broker, starts, /):
            calls["reads"] += ("shop.dead_letters", 0) in starts
            return await plain_reader(broker, starts)

        monkeypatch.setattr(type(running.broker), "begin", begin)
        monkeypatch.setattr(type(running.broker), "reader", reader)
        edit = {f"0:{n}": {"value": order("A", n)} for n in (0, 2, 3)}
        body = {"ids": ["0:0", "0:1", "0:2", "0:3", "0:7"], "edit": edit}
        told = (await running.fetch("/api/dead-letters/replay", method="POST", body=body)).json
        assert (told["matched"], told["done"]) == (5, 4)
        assert told["refused"] == [{"id": "0:7", "why": "there is no such letter"}]
        assert calls == {"units": 1, "reads": 2}
        replayed = (await running.fetch("/api/topics/shop.priced.replay/records")).json["records"]["value"]
        assert [value["price"] for value in replayed] == [0, "bad", 2, 3]


async def test_too_many_letters_are_a_part_of_them(dashboard, monkeypatch):
    """The oldest; and the reader that has found so many is closed before another one reads."""
    monkeypatch.setattr("streamweaver_dashboard.letters.MAX_DEALT", 2)
    async with dashboard() as running:
        await put_letters(running, *(letter(n) for n in range(5)))
        readers = open_readers(monkeypatch)
        plain, most = type(running.broker).reader, 0

        async def reader(broker, starts, /):
            nonlocal most
            made = await plain(broker, starts)
            most = max(most, len(readers))
            return made

        monkeypatch.setattr(type(running.broker), "reader", reader)
        body = {"where": {"stage": "priced"}}
        told = (await running.fetch("/api/dead-letters/discard", method="POST", body=body)).json
        assert (told["matched"], told["done"]) == (2, 2)
        assert (most, readers) == (1, [])


async def test_dead_letters_are_discarded_by_what_they_are(dashboard):
    """A `where` means just those that wait and fit."""
    async with dashboard() as running:
        await put_letters(running, letter(1), letter(2, error="CodecError"), letter(3))
        body = {"where": {"error": "BadRecord"}}
        told = (await running.fetch("/api/dead-letters/discard", method="POST", body=body)).json
        assert (told["matched"], told["done"]) == (2, 2)
        left = (await running.fetch("/api/dead-letters")).json["letters"]
        assert [found["error"] for found in left] == ["CodecError"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"where": {}},
        {"ids": ["x"]},
        {"ids": ["0:1"], "where": {"stage": "a"}},
        {"ids": ["0:1"], "edit": {"0:2": {"value": 1}}},
        {"ids": ["0:1"], "typo": 1},
        {"where": {"stag": "a"}},
        [],
        "text",
    ],
)
async def test_what_is_not_clearly_meant_is_not_done(dashboard, body):
    """Nothing is replayed for a request that leaves open which letters are meant."""
    async with dashboard() as running:
        await put_letters(running, letter(1), letter(2))
        answer = await running.fetch("/api/dead-letters/replay", method="POST", body=body)
        assert answer.status == 400
        assert (await running.fetch("/api/dead-letters")).json["counts"]["waiting"] == 2


# -- health ---------------------------------------------------------------------------------------


async def test_health_follows_the_stages(dashboard, monkeypatch):
    """Starting until every stage was heard of, ok then, failing with the reason when one is stuck."""
    monkeypatch.setattr("streamweaver_dashboard.stage_figures.KEPT_MS", 0)
    summary = {"p50": 1.0, "p90": 2.0, "p99": 3.0, "max": 4.0}
    well = {"health": "ok", "activity": "waiting for input", "processing_ms": summary, "latency_ms": summary}
    async with dashboard() as running:

        async def health(path, **stages):
            if stages:
                await running.append("shop.metrics", [{"time": now_ms(), "stages": stages}])
            answer = await running.fetch(path)
            return answer.status, answer.json

        assert await health("/readyz") == (
            503,
            {"status": "starting", "stages": (await health("/readyz"))[1]["stages"]},
        )
        assert (await health("/healthz"))[0] == 200
        stages = {"source": well, "priced": well, "live": well}
        assert await health("/readyz", **stages) == (200, {"status": "ok", "stages": {}})
        stuck = {**well, "health": "stuck", "activity": "writing", "activity_seconds": 12.4}
        status, told = await health("/healthz", **(stages | {"priced": stuck}))
        assert (status, told) == (
            503,
            {"status": "failing", "stages": {"priced": {"health": "stuck", "why": "writing for 12 s"}}},
        )
        scrape = (await running.fetch("/metrics")).body.decode()
        assert 'streamweaver_stage_healthy{pipeline="shop",stage="priced"} 0.0' in scrape
        assert 'streamweaver_latency_seconds{pipeline="shop",quantile="0.99",stage="priced"} 0.003' in scrape


async def test_silence_is_told_to_who_asks_for_health(dashboard):
    """Of a pipeline that was heard before, and is not any more: 503 on both, for it is neither well nor starting."""
    async with dashboard() as running:
        well = {"health": "ok", "activity": "idle", "activity_seconds": 0.1, "error": None}
        stages = dict.fromkeys(("source", "priced", "live"), well)
        await running.append("shop.metrics", [{"time": now_ms() - 14_000, "stages": stages}])
        for path in ("/healthz", "/readyz"):
            answer = await running.fetch(path)
            assert (answer.status, answer.json["status"]) == (503, "silent")
            assert answer.json["stages"]["priced"]["why"].startswith("nothing heard for 1")


async def test_counters_are_those_of_each_worker(dashboard):
    """Another worker's silence changes nothing in what one has counted, so that rates of them are true."""
    well = {"health": "ok", "activity": "idle", "activity_seconds": 0.1, "error": None}

    async with dashboard() as running:

        async def publish(worker, count, ago_ms):
            published = {"time": now_ms() - ago_ms, "stages": {"priced": {**well, "in": count}}}
            unit = running.broker.begin()
            unit.append("shop.metrics", 0, Rows([worker.encode()], [json.dumps(published).encode()], [now_ms()]))
            await unit.commit()

        await publish("one", 100, ago_ms=20_000)
        await publish("two", 50, ago_ms=0)
        scrape = (await running.fetch("/metrics")).body.decode()
        assert 'streamweaver_records_in_total{pipeline="shop",stage="priced",worker="one"} 100.0' in scrape
        assert 'streamweaver_records_in_total{pipeline="shop",stage="priced",worker="two"} 50.0' in scrape
        assert 'streamweaver_workers{pipeline="shop"} 1.0' in scrape


async def test_health_tells_strangers_only_the_status(dashboard):
    """Without log-in health is one word."""
    async with dashboard("dashboard.token=admin-token-1") as running:
        assert (await running.fetch("/readyz")).json == {"status": "starting"}


# -- alerts ---------------------------------------------------------------------------------------

ALERTS = """
  alerts:
    - {name: dear, when: price of orders > 100, by: symbol, level: critical}
"""


async def test_an_alert_is_shown_stored_and_posted(dashboard, monkeypatch, pipeline_text):
    """A rule that fires is told to watchers, written into the topic and posted to the webhook; so is its end."""
    monkeypatch.setattr("streamweaver_dashboard.hub.SECOND_MS", 50)
    posted = asyncio.Queue()
    loop = asyncio.get_running_loop()

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            loop.call_soon_threadsafe(posted.put_nowait, json.loads(body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            text = pipeline_text + ALERTS
            webhook = f"dashboard.webhook=http://127.0.0.1:{server.server_port}/hook"
            async with dashboard(webhook, text=text) as running, running.live() as viewer:
                await viewer.watch("feed", alerts=True)
                await viewer.part("feed")
                await running.append("orders", [order("A", 50), order("B", 150)])
                told = await viewer.until("alerts", lambda found: found["states"])
                assert [(s["subject"], s["state"], s["value"]) for s in told["states"]] == [("B", "firing", 150)]
                await running.append("orders", [order("B", 5)])
                told = await viewer.until("alerts", lambda found: len(found["events"]) == 2)
                assert [event["state"] for event in told["events"]] == ["resolved", "firing"]
                async with asyncio.timeout(10):
                    hooked = [await posted.get(), await posted.get()]
                assert [(e["pipeline"], e["name"], e["state"], e["level"]) for e in hooked] == [
                    ("shop", "dear", "firing", "critical"),
                    ("shop", "dear", "resolved", "critical"),
                ]
                stored = (await running.fetch("/api/topics/shop.alerts/records")).json["records"]["value"]
                assert [event["state"] for event in stored] == ["firing", "resolved"]
            async with dashboard(text=text) as running:
                assert len((await running.fetch("/api/alerts")).json["events"]) == 2
        finally:
            server.shutdown()
            thread.join()


# -- the page -------------------------------------------------------------------------------------


async def test_without_a_page_it_is_said_how_to_build_it(dashboard, monkeypatch, tmp_path):
    """A checkout without built files serves one clear page."""
    load = page.load
    monkeypatch.setattr(page, "load", lambda: load(tmp_path / "nothing"))
    async with dashboard() as running:
        answer = await running.fetch("/")
        assert answer.status == 200
        assert b"make page" in answer.body


async def test_the_page_is_served_from_memory(dashboard, monkeypatch, tmp_path):
    """Hashed files are cached for long, the entry is asked for anew; what was packed goes out packed."""
    load = page.load
    monkeypatch.setattr(page, "load", lambda: load(tmp_path))
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "assets/app-1a2b.js").write_text("run()")
    (tmp_path / "assets/app-1a2b.js.gz").write_bytes(b"packed")
    async with dashboard() as running:
        entry = await running.fetch("/")
        assert entry.headers["cache-control"] == "no-cache"
        again = await running.fetch("/", headers={"If-None-Match": entry.headers["etag"]})
        assert (again.status, again.body) == (304, b"")
        script = await running.fetch("/assets/app-1a2b.js")
        assert "immutable" in script.headers["cache-control"]
        assert script.headers["content-type"].startswith(("text/javascript", "application/javascript"))
        packed = await running.fetch("/assets/app-1a2b.js", headers={"Accept-Encoding": "gzip, br"})
        assert (packed.headers["content-encoding"], packed.body) == ("gzip", b"packed")
        assert (await running.fetch("/assets/app-1a2b.js.gz")).status == 404


async def test_of_two_dashboards_one_announces(dashboard, serve, monkeypatch, pipeline_text):
    """Both show what fires, one writes it down; when that one goes the other takes over, and nothing is told twice."""
    monkeypatch.setattr("streamweaver_dashboard.hub.SECOND_MS", 50)
    monkeypatch.setattr("streamweaver_dashboard.election.RENEW_MS", 50)
    monkeypatch.setattr("streamweaver_dashboard.election.LISTEN_MS", 75)

    async def shown(viewer, events):
        await viewer.until("alerts", lambda found: len(found["events"]) >= events)

    async def stored(running, events):
        async with asyncio.timeout(20):
            while True:
                found = (await running.fetch("/api/topics/shop.alerts/records")).json["records"]["value"]
                if len(found) >= events:
                    return [event["state"] for event in found]
                await asyncio.sleep(0.05)

    text = pipeline_text + ALERTS
    async with dashboard(text=text) as first, first.live() as one:
        await one.watch("feed", alerts=True)
        await one.part("feed")
        async with serve(first.plan, first.broker, alone=True) as second, second.live() as other:
            await other.watch("feed", alerts=True)
            await other.part("feed")
            await first.append("orders", [order("B", 150)])
            await shown(one, 1)
            await shown(other, 1)
            assert await stored(first, 1) == ["firing"]
            await first.append("orders", [order("B", 5)])
            await shown(one, 2)
            await shown(other, 2)
            assert await stored(first, 2) == ["firing", "resolved"]
        await first.append("orders", [order("B", 151)])
        assert await stored(first, 3) == ["firing", "resolved", "firing"]
        # A new one does not tell anew of what fires already.
        async with serve(first.plan, first.broker, alone=True) as third, third.live() as viewer:
            await viewer.watch(alerts=True)
            told = await viewer.until("alerts")
            assert [(state["subject"], state["state"]) for state in told["states"]] == [("B", "firing")]
            await first.append("orders", [order("B", 6)])
            assert await stored(first, 4) == ["firing", "resolved", "firing", "resolved"]


async def test_a_port_in_use_is_said(dashboard, serve, plan_of, pipeline_text):
    """The error of a port that is taken says what to do; without a port in the file another one is taken."""
    from streamweaver import Fatal

    async with dashboard() as running:
        plan = plan_of(pipeline_text, f"dashboard.port={running.port}")
        with pytest.raises(Fatal, match=f"^dashboard: port {running.port} of 127.0.0.1 is in use by .*; say --port"):
            async with serve(plan, running.broker):
                pass
        free = plan_of(pipeline_text.replace("  port: 0\n", ""))
        async with serve(free, running.broker) as one, serve(free, running.broker) as other:
            assert one.port != other.port


def test_any_json_the_api_sends_can_be_decoded():
    """The encoder of answers takes any value and gives JSON."""
    from streamweaver.views.column import to_json

    for value in ({"a": float("nan")}, {"b": b"\xff"}, object(), "\ud800", 10**400):
        msgspec.json.decode(to_json(value))
