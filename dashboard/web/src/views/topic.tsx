/** A topic: partitions, retention, and its records: live, searched, or from an offset or a time. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { api, messageOf, type RecordsWish } from "../api";
import { followTopic, metrics, now } from "../live/store";
import { append, type Row, rows } from "../panels/rows";
import type { Topic, TopicDetail, Where } from "../protocol";
import { Badge } from "../ui/badge";
import { bytes, clock, count, exact, localInput, NOTHING, plural, rate, span, words } from "../ui/format";
import { inert, oneLine, valueLine } from "../ui/inert";
import { Icon } from "../ui/icon";
import { JsonTree } from "../ui/json_tree";
import { Empty, Trouble } from "../ui/notice";
import { link } from "../ui/router";
import { Steady } from "../ui/steady";
import { VirtualList } from "../ui/virtual_list";
import { parseWhere } from "./where";

const KEPT = 2000;

export function TopicView({ topic }: { topic: Topic }) {
  const detail = useSignal<TopicDetail | null>(null);
  const failure = useSignal<string | null>(null);
  useEffect(() => {
    const load = (): void => {
      if (document.hidden) return;
      api.topic(topic.name).then(
        (loaded) => {
          detail.value = loaded;
          failure.value = null;
        },
        (error: unknown) => (failure.value = messageOf(error)),
      );
    };
    load();
    const timer = setInterval(load, 5000);
    return () => clearInterval(timer);
  }, [topic.name]);
  const of = detail.value;
  return (
    <section class="detail" aria-label={`Topic ${topic.name}`}>
      <header class="detail-head">
        <h2>{inert(topic.name, 80)}</h2>
        <span class="muted">{topic.role === "data" ? "topic" : `${words(topic.role)} topic`}</span>
        <TopicRate name={topic.name} />
        <span class="muted">{plural(topic.partitions, "partition")}</span>
        <span class="muted">{topic.codec}</span>
        <span class="muted">keeps {topic.retention_ms === null ? "all" : span(topic.retention_ms / 1000)}{topic.retention_bytes === null ? "" : `, ${bytes(topic.retention_bytes)}`}{topic.cleanup === "delete" ? "" : `, ${topic.cleanup}`}</span>
        {of ? (
          <span class="detail-arrows">
            {of.writers.map((stage) => <a key={stage} href={link("pipeline", "stage", stage)}>{stage}</a>)}
            <span class="muted">{"\u2192"}</span>
            <b>{topic.name}</b>
            {of.readers.length ? <span class="muted">{"\u2192"}</span> : null}
            {of.readers.map((stage) => <a key={stage} href={link("pipeline", "stage", stage)}>{stage}</a>)}
          </span>
        ) : null}
      </header>
      {failure.value ? <Trouble message={failure.value} /> : null}
      {of ? <Partitions of={of} /> : null}
      <Records topic={topic} />
    </section>
  );
}

function TopicRate({ name }: { name: string }) {
  const steady = useRef(new Steady(1500, 0.03));
  return <b>{rate(steady.current.next(metrics.value?.topics[name]?.per_second ?? null, performance.now()))}</b>;
}

function Partitions({ of }: { of: TopicDetail }) {
  const most = Math.max(1, ...of.partitions.map((partition) => partition.records));
  return (
    <ul class="partitions" aria-label="Partitions">
      {of.partitions.map((partition) => (
        <li key={partition.partition}>
          <span class="muted">partition {partition.partition}</span>
          <span class="partition-offsets">{exact(partition.begin)} {"\u2013"} {exact(partition.end)}</span>
          <span class="partition-bar" aria-hidden="true"><span style={{ width: `${(100 * partition.records) / most}%` }} /></span>
          <span class="unseen">{plural(partition.records, "record")}</span>
        </li>
      ))}
    </ul>
  );
}

/** Where reading began: at the end (and goes on live), or at some place in the past. */
type Place = { at: "live" } | { at: "start" } | { at: "offset"; partition: number; offset: number } | { at: "time"; time: number };

interface Held {
  rows: Row[];
  next: string | null;
  more: boolean;
  hidden: number;
  scanned: number;
}

const NONE: Held = { rows: [], next: null, more: false, hidden: 0, scanned: 0 };

function wishOf(place: Place): RecordsWish {
  switch (place.at) {
    case "live":
      return { from: "end" };
    case "start":
      return { from: "start" };
    case "offset":
      return { partition: place.partition, offset: place.offset };
    case "time":
      return { time: place.time };
  }
}

function Records({ topic }: { topic: Topic }) {
  const text = useSignal("");
  const whereText = useSignal("");
  const place = useSignal<Place>({ at: "live" });
  const paused = useSignal(false);
  const held = useSignal<Held>(NONE);
  const busy = useSignal(false);
  const failure = useSignal<string | null>(null);
  const chosen = useSignal<Row | null>(null);
  const away = useSignal(false);
  const missed = useSignal(0);
  const question = useRef(0);

  const parsed = parseWhere(whereText.value);
  const where: Where = "where" in parsed ? parsed.where : {};
  const filter = JSON.stringify([where, text.value]);
  const isLive = place.value.at === "live";

  const read = (next?: string): void => {
    question.current += 1;
    const mine = question.current;
    busy.value = true;
    failure.value = null;
    const from = place.peek();
    api.records(topic.name, { limit: 100, where, text: text.peek(), ...(next === undefined ? wishOf(from) : { next }) }).then(
      (page) => {
        if (mine !== question.current) return;
        const fresh = rows(page.records);
        const before = held.peek();
        // What is live came while the page was on its way, and belongs behind it.
        const all = next === undefined ? append(fresh, before.rows, KEPT) : append(before.rows, fresh, KEPT);
        held.value = { ...before, rows: all, next: page.next, more: page.more, scanned: page.scanned };
        busy.value = false;
      },
      (error: unknown) => {
        if (mine !== question.current) return;
        failure.value = messageOf(error);
        busy.value = false;
      },
    );
  };

  useEffect(() => {
    held.value = NONE;
    missed.value = 0;
    // Who is still typing does not want an answer for each letter.
    const timer = setTimeout(() => read(), 200);
    return () => clearTimeout(timer);
  }, [topic.name, filter, place.value]);

  useEffect(() => {
    if (!isLive || paused.value) return;
    let waiting: Row[] = [];
    let hidden = 0;
    let timer: ReturnType<typeof setTimeout> | null = null;
    const show = (): void => {
      timer = null;
      const before = held.peek();
      if (away.peek()) missed.value += waiting.length;
      else held.value = { ...before, rows: append(before.rows, waiting, KEPT), hidden: before.hidden + hidden };
      waiting = [];
      hidden = 0;
    };
    const stop = followTopic(
      { topic: topic.name, where, text: text.peek(), rate: 20, partition: null },
      (fresh, unseen) => {
        waiting = waiting.concat(fresh);
        hidden += unseen;
        timer ??= setTimeout(show, 250);
      },
      (error) => (failure.value = error),
    );
    return () => {
      stop();
      if (timer !== null) clearTimeout(timer);
    };
  }, [topic.name, filter, isLive, paused.value]);

  const items = isLive ? [...held.value.rows].reverse() : held.value.rows;
  const jump = (to: Place): void => {
    paused.value = false;
    place.value = to;
  };
  return (
    <div class="card records">
      <div class="records-bar">
        <button type="button" class="button" aria-pressed={isLive && !paused.value} onClick={() => {
          if (!isLive) jump({ at: "live" });
          else {
            paused.value = !paused.value;
            if (!paused.value) read();
          }
        }}>
          <Icon name={isLive && !paused.value ? "pause" : "play"} />
          {isLive ? (paused.value ? "Go on" : "Pause") : "Live"}
        </button>
        <input type="search" class="input grow" placeholder="Text in the key or value" aria-label="Find text in the records" maxLength={200} value={text.value} onInput={(event) => (text.value = event.currentTarget.value)} />
        <input class="input grow mono" placeholder={"field=value, other.field=3"} aria-label="Filter by fields" aria-invalid={"error" in parsed} title={"error" in parsed ? parsed.error : "Fields that must be equal; $key is the record key, several values with |"} value={whereText.value} onInput={(event) => (whereText.value = event.currentTarget.value)} />
        <Jump topic={topic} jump={jump} />
      </div>
      {"error" in parsed ? <p class="failure card-pad small" role="alert">{parsed.error}</p> : null}
      <div class="records-main">
        <div class="records-list">
          {failure.value ? (
            <Trouble message={failure.value} retry={() => read()} />
          ) : items.length === 0 ? (
            <Empty title={busy.value ? "Reading" : text.value || whereText.value ? "No record matches" : "No records here"}>
              {!busy.value && isLive ? "New ones appear here." : null}
            </Empty>
          ) : (
            <VirtualList
              items={items}
              rowHeight={28}
              label={`Records of ${topic.name}, ${isLive ? "newest" : "oldest"} first`}
              keyOf={(row) => row.id}
              onTop={(top) => {
                if (isLive && away.peek() === top) {
                  away.value = !top;
                  if (top) missed.value = 0;
                }
              }}
              render={(row) => (
                <button type="button" class="record" aria-pressed={chosen.value?.id === row.id} onClick={() => (chosen.value = chosen.value?.id === row.id ? null : row)}>
                  <span class="record-place">{row.partition}:{row.offset}</span>
                  <span class="record-time">{clock(row.time, true)}</span>
                  <span class="record-key">{row.key === null ? <span class="muted">{NOTHING}</span> : oneLine(row.key, 60)}</span>
                  <span class="record-value">{row.raw?.why === "undecodable" ? <Badge tone="bad">undecodable</Badge> : null}{row.value === null && !row.raw ? <span class="muted">no value</span> : valueLine(row.value, row.raw, 300)}</span>
                </button>
              )}
            />
          )}
          <p class="panel-foot">
            {busy.value ? "reading " : ""}
            {plural(held.value.rows.length, "record")} shown
            {held.value.hidden > 0 ? `, ${count(held.value.hidden)} passed without being shown (sampled)` : ""}
            {missed.value > 0 ? `, ${plural(missed.value, "newer one")} held back: scroll to the top` : ""}
            {text.value || Object.keys(where).length ? `, ${count(held.value.scanned)} looked at` : ""}
            {!isLive && held.value.next !== null ? (
              <button type="button" class="chip" disabled={busy.value} onClick={() => read(held.peek().next ?? undefined)}>{held.value.more ? "Read on" : "Look for new ones"}</button>
            ) : null}
          </p>
        </div>
        {chosen.value ? <RecordDetail row={chosen.value} topic={topic} close={() => (chosen.value = null)} /> : null}
      </div>
    </div>
  );
}

function Jump({ topic, jump }: { topic: Topic; jump: (to: Place) => void }) {
  const kind = useSignal<"offset" | "time">("offset");
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const data = new FormData(event.currentTarget as HTMLFormElement);
    if (kind.value === "offset") jump({ at: "offset", partition: Number(data.get("partition")), offset: Number(data.get("offset")) });
    else {
      const time = new Date(String(data.get("time"))).getTime();
      if (Number.isFinite(time)) jump({ at: "time", time });
    }
  };
  return (
    <form class="jump" onSubmit={submit}>
      <select class="input" aria-label="Jump to" value={kind.value} onChange={(event) => (kind.value = event.currentTarget.value as "offset" | "time")}>
        <option value="offset">offset</option>
        <option value="time">time</option>
      </select>
      {kind.value === "offset" ? (
        <>
          <select class="input" name="partition" aria-label="Partition">
            {Array.from({ length: topic.partitions }, (_, index) => <option key={index} value={index}>{index}</option>)}
          </select>
          <input class="input jump-offset" name="offset" type="number" min="0" step="1" required placeholder="offset" aria-label="Offset" />
        </>
      ) : (
        <input class="input" name="time" type="datetime-local" step="1" required aria-label="Time" defaultValue={localInput(now() - 300_000)} />
      )}
      <button type="submit" class="button">Jump</button>
      <button type="button" class="button" onClick={() => jump({ at: "start" })}>Oldest</button>
    </form>
  );
}

export function RecordDetail({ row, topic, close }: { row: Row; topic: Topic; close: () => void }) {
  return (
    <aside class="record-detail" aria-label="Record" aria-live="polite">
      <div class="card-head">
        <h3>Record {row.partition}:{row.offset}</h3>
        <button type="button" class="chip push" onClick={close}>Close</button>
      </div>
      <dl class="options">
        <div><dt>time</dt><dd>{new Date(row.time).toISOString()}</dd></div>
        <div><dt>key</dt><dd>{row.key === null ? <span class="muted">none</span> : oneLine(row.key, 1000)}</dd></div>
        {(row.headers ?? []).map(([name, value], index) => (
          <div key={index}><dt>{inert(name, 80)}</dt><dd>{inert(value, 400)} <span class="muted small">header</span></dd></div>
        ))}
      </dl>
      {row.raw ? (
        <>
          <p class="card-pad small">
            {row.raw.why === "large" ? `${bytes(row.raw.bytes)}: too large to be sent; its beginning` : `Not ${topic.codec}: ${inert(row.raw.error ?? "", 300)}`}
          </p>
          <pre class="raw">{inert(row.raw.text, 4096)}</pre>
        </>
      ) : (
        <div class="json"><JsonTree value={row.value} /></div>
      )}
    </aside>
  );
}
