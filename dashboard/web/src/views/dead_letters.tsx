/** Dead letters: found by stage, reason and time, seen with their error, edited, replayed, discarded. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { api, messageOf } from "../api";
import { mayChange, metrics, now } from "../live/store";
import type { Letter, LetterAction, LetterFilter, LetterResult, LettersPage } from "../protocol";
import { count, plural, when } from "../ui/format";
import { inert } from "../ui/inert";
import { Empty, Trouble } from "../ui/notice";
import { route } from "../ui/router";
import { VirtualList } from "../ui/virtual_list";
import { LetterDetailView } from "./letter";
import { type Ask, Confirm } from "./confirm";
import "../style/pipeline.css";
import "../style/letters.css";

const TIMES: [string, number | null][] = [
  ["any time", null], ["last 15 min", 15], ["last hour", 60], ["last 24 h", 1440], ["last 7 d", 10080],
];

export function DeadLetters() {
  const stage = useSignal(route.value[1] ?? "");
  const error = useSignal("");
  const reason = useSignal("");
  const minutes = useSignal<number | null>(null);
  const page = useSignal<LettersPage | null>(null);
  const letters = useSignal<Letter[]>([]);
  const picked = useSignal<ReadonlySet<string>>(new Set());
  const chosen = useSignal<string | null>(null);
  const failure = useSignal<string | null>(null);
  const busy = useSignal(false);
  const ask = useSignal<Ask | null>(null);
  const done = useSignal<string | null>(null);
  const question = useRef(0);

  const filter = (): LetterFilter => ({
    ...(stage.value ? { stage: stage.value } : {}),
    ...(error.value ? { error: error.value } : {}),
    ...(reason.value ? { reason: reason.value } : {}),
    ...(minutes.value === null ? {} : { since: Math.round(now() - minutes.value * 60_000) }),
  });
  const filterKey = JSON.stringify([stage.value, error.value, reason.value, minutes.value]);

  const load = (before?: string): void => {
    question.current += 1;
    const mine = question.current;
    busy.value = true;
    api.letters({ ...filter(), limit: 100, ...(before === undefined ? {} : { before }) }).then(
      (fresh) => {
        if (mine !== question.current) return;
        page.value = fresh;
        letters.value = before === undefined ? fresh.letters : [...letters.peek(), ...fresh.letters];
        busy.value = false;
        failure.value = null;
      },
      (trouble: unknown) => {
        if (mine !== question.current) return;
        failure.value = messageOf(trouble);
        busy.value = false;
      },
    );
  };
  useEffect(() => {
    picked.value = new Set();
    const timer = setTimeout(() => load(), 150);
    return () => clearTimeout(timer);
  }, [filterKey]);

  // More have come since the list was read: said, not moved under the pointer.
  const dead = Object.values(metrics.value?.stages ?? {}).reduce((sum, of) => sum + of.dead_lettered, 0);
  const counted = useRef<number | null>(null);
  if (counted.current === null && metrics.value) counted.current = dead;
  const more = counted.current === null ? 0 : Math.max(0, dead - counted.current);
  const reload = (): void => {
    counted.current = dead;
    load();
  };

  const finished = (result: LetterResult): void => {
    ask.value = null;
    done.value = `${plural(result.done, "dead letter")} ${result.action === "replay" ? "replayed" : "discarded"}${result.refused.length ? `, ${count(result.refused.length)} refused` : ""}`;
    picked.value = new Set();
    chosen.value = null;
    reload();
  };
  const act = (action: "replay" | "discard", what: Omit<LetterAction, "dry_run">, text: string): void => {
    ask.value = { action, what, text };
  };
  const toggle = (id: string): void => {
    const next = new Set(picked.value);
    if (!next.delete(id)) next.add(id);
    picked.value = next;
  };

  const counts = page.value?.counts;
  const filtered = filterKey !== JSON.stringify(["", "", "", null]);
  const ids = [...picked.value];
  return (
    <>
      <div class="view-head">
        <h1>Dead letters</h1>
        <div class="view-facts">
          {counts ? <span><b>{count(counts.waiting)}</b> waiting</span> : null}
          {more > 0 ? <button type="button" class="chip" onClick={reload}>{count(more)} new: read again</button> : null}
          <span class="result" role="status">{done.value}</span>
        </div>
      </div>
      <div class="letters">
        <div class="card letters-list">
          <div class="letters-bar">
            <select class="input" aria-label="Stage" value={stage.value} onChange={(event) => (stage.value = event.currentTarget.value)}>
              <option value="">all stages</option>
              {options(counts?.stages, stage.value)}
            </select>
            <select class="input" aria-label="Error" value={error.value} onChange={(event) => (error.value = event.currentTarget.value)}>
              <option value="">all errors</option>
              {options(counts?.errors, error.value)}
            </select>
            <select class="input" aria-label="Time" value={String(minutes.value ?? "")} onChange={(event) => (minutes.value = event.currentTarget.value === "" ? null : Number(event.currentTarget.value))}>
              {TIMES.map(([name, of]) => <option key={name} value={of ?? ""}>{name}</option>)}
            </select>
            <input type="search" class="input grow" placeholder="Text in the reason" aria-label="Text in the reason" value={reason.value} onInput={(event) => (reason.value = event.currentTarget.value)} />
          </div>
          {mayChange.value ? (
            <div class="letters-do" role="group" aria-label="Actions">
              <label class="field">
                <input type="checkbox" checked={letters.value.length > 0 && letters.value.every((letter) => picked.value.has(letter.id))} onChange={(event) => (picked.value = event.currentTarget.checked ? new Set(letters.value.map((letter) => letter.id)) : new Set())} />
                all shown
              </label>
              <span class="muted">{ids.length ? `${count(ids.length)} chosen` : ""}</span>
              <span class="push" />
              {ids.length ? (
                <>
                  <button type="button" class="button" onClick={() => act("replay", { ids }, `the ${plural(ids.length, "chosen dead letter")}`)}>Replay</button>
                  <button type="button" class="button button-bad" onClick={() => act("discard", { ids }, `the ${plural(ids.length, "chosen dead letter")}`)}>Discard</button>
                </>
              ) : filtered && letters.value.length ? (
                <>
                  <button type="button" class="button" onClick={() => act("replay", { where: filter() }, "all that match the filter")}>Replay all that match</button>
                  <button type="button" class="button button-bad" onClick={() => act("discard", { where: filter() }, "all that match the filter")}>Discard all that match</button>
                </>
              ) : (
                <span class="muted small">Choose some, or filter to act on all that match.</span>
              )}
            </div>
          ) : null}
          {failure.value ? (
            <Trouble message={failure.value} retry={() => load()} />
          ) : letters.value.length === 0 ? (
            busy.value ? <Empty title="Reading" /> : filtered ? <Empty title="None matches">Of {plural(counts?.waiting ?? 0, "dead letter")} that wait.</Empty> : <Empty title="No dead letters">A record that cannot be processed waits here with its error, to be fixed and replayed.</Empty>
          ) : (
            <VirtualList
              items={letters.value}
              rowHeight={44}
              label="Dead letters, newest first"
              keyOf={(letter) => letter.id}
              render={(letter) => (
                <div class={`letter ${chosen.value === letter.id ? "is-chosen" : ""}`}>
                  {mayChange.value ? <input type="checkbox" aria-label={`Choose dead letter ${letter.id}`} checked={picked.value.has(letter.id)} onChange={() => toggle(letter.id)} /> : null}
                  <button type="button" class="letter-open" aria-pressed={chosen.value === letter.id} onClick={() => (chosen.value = chosen.value === letter.id ? null : letter.id)}>
                    <span class="muted">{when(letter.failed_at, now())}</span>
                    <span class="letter-where">
                      <b>{inert(letter.stage, 60)}</b>
                      <span class="muted small">{inert(letter.step ?? letter.topic, 60)}</span>
                    </span>
                    <span class="letter-reason">
                      <span class="tone-bad">{inert(letter.error, 60)}</span> {inert(letter.reason, 240)}
                    </span>
                  </button>
                </div>
              )}
            />
          )}
          <p class="panel-foot">
            {letters.value.length ? `${plural(letters.value.length, "dead letter")} shown ` : ""}
            {page.value?.more && page.value.next !== null ? <button type="button" class="chip" disabled={busy.value} onClick={() => load(page.peek()?.next ?? undefined)}>Older ones</button> : null}
          </p>
        </div>
        {chosen.value ? <LetterDetailView key={chosen.value} id={chosen.value} act={act} close={() => (chosen.value = null)} /> : null}
      </div>
      {ask.value ? <Confirm ask={ask.value} done={finished} close={() => (ask.value = null)} /> : null}
    </>
  );
}

/** The names with their counts; the chosen one also when none of it waits any more. */
function options(counts: Record<string, number> | undefined, chosen: string) {
  const names = Object.entries(counts ?? {}).sort(([, a], [, b]) => b - a);
  if (chosen && !names.some(([name]) => name === chosen)) names.push([chosen, 0]);
  return names.map(([name, many]) => <option key={name} value={name}>{`${inert(name, 60)} (${count(many)})`}</option>);
}
