/** Before dead letters are changed: a dry run says what would happen, and a person agrees. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { api, messageOf } from "../api";
import type { LetterAction, LetterResult } from "../protocol";
import { count, plural } from "../ui/format";
import { inert } from "../ui/inert";

export interface Ask {
  action: "replay" | "discard";
  what: Omit<LetterAction, "dry_run">;
  text: string;
}

export function Confirm({ ask, done, close }: { ask: Ask; done: (result: LetterResult) => void; close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const dry = useSignal<LetterResult | null>(null);
  const failure = useSignal<string | null>(null);
  const busy = useSignal(false);
  const isReplay = ask.action === "replay";
  const send = (dryRun: boolean): Promise<LetterResult> => (isReplay ? api.replay : api.discard)({ ...ask.what, dry_run: dryRun });

  useEffect(() => {
    dialog.current?.showModal();
    send(true).then(
      (result) => (dry.value = result),
      (error: unknown) => (failure.value = messageOf(error)),
    );
  }, []);
  const act = (): void => {
    busy.value = true;
    send(false).then(done, (error: unknown) => {
      failure.value = messageOf(error);
      busy.value = false;
    });
  };
  const result = dry.value;
  const title = isReplay ? "Replay" : "Discard";
  return (
    <dialog ref={dialog} aria-labelledby="confirm-title" onClose={close}>
      <div class="dialog-body">
        <h2 id="confirm-title">{title} {ask.text}?</h2>
        {failure.value ? (
          <p class="failure" role="alert">{failure.value}</p>
        ) : result ? (
          <>
            <p role="status">
              Dry run: of {plural(result.matched, "dead letter")} that match, <b>{count(result.done)}</b> would be {isReplay ? "replayed" : "discarded"}
              {Object.keys(result.stages).length ? ` (${Object.entries(result.stages).map(([stage, many]) => `${inert(stage, 60)}: ${count(many)}`).join(", ")})` : ""}.
            </p>
            <p class="muted small">
              {isReplay ? "Each goes to its stage and is processed as if it had just come. Replaying twice does nothing the second time." : "A discarded dead letter is not processed any more. This cannot be taken back."}
            </p>
            {result.refused.length ? (
              <ul class="refused" aria-label="Refused">
                {result.refused.slice(0, 50).map((each) => <li key={each.id}>{inert(each.id, 40)}: {inert(each.why, 300)}</li>)}
                {result.refused.length > 50 ? <li>and {count(result.refused.length - 50)} more</li> : null}
              </ul>
            ) : null}
          </>
        ) : (
          <p class="muted" role="status">Trying without changing anything</p>
        )}
      </div>
      <div class="dialog-actions">
        <button type="button" class="button" onClick={() => dialog.current?.close()}>Cancel</button>
        <button type="button" class={`button ${isReplay ? "button-main" : "button-bad"}`} disabled={!result || result.done === 0 || busy.value} onClick={act}>
          {title} {result && result.done > 0 ? count(result.done) : ""}
        </button>
      </div>
    </dialog>
  );
}
