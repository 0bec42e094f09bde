/** The newest records, newest on top; with a filter, those of the whole topic that match. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { api, messageOf } from "../api";
import { followTopic, outages, type PanelFeed } from "../live/store";
import { clock, plural } from "../ui/format";
import { field, inert, oneLine, valueLine } from "../ui/inert";
import { Empty, Trouble } from "../ui/notice";
import { ShortList } from "../ui/short_list";
import { append, type Row, rows } from "./rows";
import { useShown } from "./shown";
import { type Width, widths } from "./widths";

interface Entry {
  id: string;
  row: Row | null;
  gap: string;
}

/** Records newest first, with a line where this page was not connected. */
export function entries(held: readonly Row[], away: readonly [number, number][]): Entry[] {
  const all: Entry[] = [];
  let next = away.length - 1;
  for (let index = held.length - 1; index >= 0; index -= 1) {
    const row = held[index] as Row;
    while (next >= 0 && (away[next] as [number, number])[0] > row.time) {
      const [from, to] = away[next] as [number, number];
      if (all.length > 0) all.push({ id: `gap-${from}`, row: null, gap: `not connected ${clock(from)} \u2013 ${clock(to)}` });
      next -= 1;
    }
    all.push({ id: row.id, row, gap: "" });
  }
  return all;
}

export function FeedPanel({ feed, live, search, history }: { feed: PanelFeed; live: boolean; search: string; history: boolean }) {
  const { panel } = feed.model;
  const [filtered, setFiltered] = useState<Row[] | null>(null);
  const [failure, setFailure] = useState<string | null>(null);
  const away = useSignal(false);
  const measured = useRef<{ of: number; widths: Width[] }>({ of: 0, widths: [] });
  const searching = search !== "" && !history;

  useEffect(() => {
    setFiltered(null);
    setFailure(null);
    if (!searching) return;
    let open = true;
    const limit = panel.limit ?? 100;
    const wish = { where: panel.where ?? {}, text: search };
    const take = (fresh: Row[]): void => setFiltered((held) => append(held ?? [], fresh, limit));
    const look = (): void => {
      api.records(panel.from, { ...wish, limit: Math.min(500, limit) }).then(
        (page) => open && setFiltered((held) => append(rows(page.records), held ?? [], limit)),
        (error: unknown) => open && setFailure(messageOf(error)),
      );
    };
    look();
    // Following begins a little later than this; what came in between is found by a second look.
    const again = setTimeout(look, 1_000);
    const stop = followTopic({ topic: panel.from, ...wish, rate: 20, partition: null }, take, setFailure);
    return () => {
      open = false;
      clearTimeout(again);
      stop();
    };
  }, [panel, search, searching]);

  const newest = useShown(feed, live, 250, () => feed.model.feed);
  const source = searching ? (filtered ?? []) : newest;
  // Who reads further down, or paused, keeps the records being read.
  const kept = useRef(source);
  if (live && !away.value) kept.current = source;
  const hidden = feed.model.feedHidden;
  const waiting = kept.current === source ? 0 : source.filter((row) => !kept.current.includes(row)).length;

  if (failure) return <Trouble message={failure} />;
  if (searching && filtered === null) return <Empty title="Looking through the topic" />;
  if (kept.current.length === 0)
    return searching ? <Empty title="No record matches">New ones that do appear here.</Empty> : <Empty title="No records yet">They appear here as they arrive.</Empty>;
  // Measured when the first records are there and once more when there are many, not with each record: columns stand still.
  const fields = panel.fields ?? [];
  if (measured.current.of < 40 && kept.current.length > measured.current.of * 2)
    measured.current = {
      of: kept.current.length,
      widths: widths(
        fields.map((name) =>
          kept.current.slice(-60).map((row) => {
            const value = field(row.value, name);
            return { text: value === null ? "" : oneLine(value, 80), number: typeof value === "number" };
          }),
        ),
      ),
    };
  return (
    <div class="feed" style={fields.length ? { "--least": `${leastWidth(measured.current.widths)}px` } : undefined}>
      {fields.length ? (
        <div class="feed-head" aria-hidden="true">
          <span class="cell-time">time</span>
          {fields.map((name, at) => (
            <span key={name} {...cell(measured.current.widths[at])}>
              {inert(name, 30)}
            </span>
          ))}
        </div>
      ) : null}
      <ShortList
        items={entries(kept.current, outages.value)}
        rowHeight={26}
        label={`${panel.title}: records, newest first`}
        keyOf={(entry) => entry.id}
        onTop={(top) => {
          away.value = !top;
        }}
        render={(entry) => (entry.row ? <FeedRow row={entry.row} fields={fields} widths={measured.current.widths} /> : <span class="gap-row">{entry.gap}</span>)}
      />
      <p class="panel-foot">
        {waiting > 0 && live ? <span>{plural(waiting, "newer record")}: scroll to the top. </span> : null}
        {hidden > 0 && !searching ? <span>{plural(hidden, "record")} passed without being shown (sampled)</span> : null}
      </p>
    </div>
  );
}

const TIME = 86;
const NUMBER = 72;
const SPACE = 14;

/** Pixels that a column of text has at least: it grows, but does not shrink; a narrow panel scrolls sideways instead. */
function textWidth(width: Width | undefined): number {
  return 7 * Math.min(16, width?.grow ?? 10);
}

/** Pixels that all columns need; as in the style sheet. */
function leastWidth(of: readonly Width[]): number {
  return of.reduce((sum, width) => sum + SPACE + (width.number ? NUMBER : textWidth(width)), TIME + 2 * SPACE);
}

function cell(width: Width | undefined) {
  return width?.number ? { class: "feed-cell is-number" } : { class: "feed-cell", style: { flexGrow: width?.grow ?? 10, flexBasis: `${textWidth(width)}px` } };
}

function FeedRow({ row, fields, widths: of }: { row: Row; fields: readonly string[]; widths: readonly Width[] }) {
  return (
    <div class="feed-row">
      <time class="cell-time">{clock(row.time, true)}</time>
      {fields.length && !row.raw ? (
        fields.map((name, at) => (
          <span key={name} {...cell(of[at])}>
            {oneLine(field(row.value, name), 160)}
          </span>
        ))
      ) : (
        <span class="feed-value">{valueLine(row.value, row.raw, 300)}</span>
      )}
    </div>
  );
}
