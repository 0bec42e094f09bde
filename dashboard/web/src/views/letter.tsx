/** One dead letter: its error, its record, and the place to fix it. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { api, messageOf } from "../api";
import { mayChange } from "../live/store";
import type { Json, LetterAction, LetterDetail } from "../protocol";
import { bytes, plural, stamp } from "../ui/format";
import { inert, oneLine } from "../ui/inert";
import { JsonTree } from "../ui/json_tree";
import { Empty, Trouble } from "../ui/notice";
import { link } from "../ui/router";

interface Props {
  id: string;
  act: (action: "replay" | "discard", what: Omit<LetterAction, "dry_run">, text: string) => void;
  close: () => void;
}

export function LetterDetailView({ id, act, close }: Props) {
  const letter = useSignal<LetterDetail | null>(null);
  const failure = useSignal<string | null>(null);
  const draft = useSignal<string | null>(null);
  const wrong = useSignal<string | null>(null);
  const load = (): void => {
    api.letter(id).then(
      (loaded) => (letter.value = loaded),
      (error: unknown) => (failure.value = messageOf(error)),
    );
  };
  useEffect(load, [id]);

  const of = letter.value;
  if (failure.value) return <aside class="card letter-detail"><Trouble message={failure.value} retry={load} /></aside>;
  if (!of) return <aside class="card letter-detail"><Empty title="Loading" /></aside>;

  const replay = (): void => {
    if (draft.value === null) {
      act("replay", { ids: [id] }, "this dead letter");
      return;
    }
    try {
      const value = JSON.parse(draft.value) as Json;
      wrong.value = null;
      act("replay", { ids: [id], edit: { [id]: { value } } }, "this dead letter, with the edited value");
    } catch (error) {
      wrong.value = `This is no JSON: ${messageOf(error)}`;
    }
  };
  const waiting = of.state === "waiting";
  return (
    <aside class="card letter-detail" aria-label={`Dead letter ${id}`}>
      <div class="card-head">
        <h2>Dead letter {id}</h2>
        {waiting ? null : <span class="muted">{of.state}</span>}
        <button type="button" class="chip push" onClick={close}>Close</button>
      </div>
      <p class="letter-error">
        <b>{inert(of.error, 120)}</b> {inert(of.reason, 2000)}
      </p>
      <dl class="options">
        <div>
          <dt>stage</dt>
          <dd><a href={link("pipeline", "stage", of.stage)}>{inert(of.stage, 80)}</a>{of.step ? ` \u2192 ${inert(of.step, 80)}` : ""}</dd>
        </div>
        <div><dt>failed</dt><dd>{stamp(of.failed_at, true)}, after {plural(of.tries, "try", "tries")}</dd></div>
        <div>
          <dt>record</dt>
          <dd>
            <a href={link("pipeline", "topic", of.topic)}>{inert(of.topic, 80)}</a> {of.offset < 0 ? "(not written yet)" : `${of.partition}:${of.offset}`}, {stamp(of.time, true)}
          </dd>
        </div>
        <div><dt>key</dt><dd>{of.key === null ? <span class="muted">none</span> : oneLine(of.key, 400)}</dd></div>
        {(of.headers ?? []).map(([name, value], index) => (
          <div key={index}><dt>{inert(name, 80)}</dt><dd>{inert(value, 400)} <span class="muted small">header</span></dd></div>
        ))}
      </dl>
      {draft.value === null ? (
        of.raw ? (
          <>
            <p class="card-pad small muted">{of.raw.why === "large" ? `${bytes(of.raw.bytes)}: its beginning` : `It could not be decoded: ${inert(of.raw.error ?? "", 300)}`}</p>
            <pre class="raw">{inert(of.raw.text, 4096)}</pre>
          </>
        ) : (
          <div class="json"><JsonTree value={of.value ?? null} /></div>
        )
      ) : (
        <div class="letter-edit">
          <label for="letter-value" class="small muted">New value, as JSON</label>
          <textarea id="letter-value" class="input" spellcheck={false} aria-invalid={wrong.value !== null} value={draft.value} onInput={(event) => (draft.value = event.currentTarget.value)} />
          {wrong.value ? <p class="failure small" role="alert">{wrong.value}</p> : null}
        </div>
      )}
      {mayChange.value && waiting ? (
        <div class="letter-actions">
          <button type="button" class="button button-main" onClick={replay}>{draft.value === null ? "Replay" : "Replay edited"}</button>
          {of.editable ? (
            <button type="button" class="button" onClick={() => {
              wrong.value = null;
              draft.value = draft.value === null ? (of.raw ? of.raw.text : JSON.stringify(of.value ?? null, null, 2)) : null;
            }}>
              {draft.value === null ? "Edit" : "Do not edit"}
            </button>
          ) : null}
          <button type="button" class="button button-bad push" onClick={() => act("discard", { ids: [id] }, "this dead letter")}>Discard</button>
        </div>
      ) : null}
    </aside>
  );
}
