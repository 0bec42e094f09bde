/** A JSON value as a tree that opens and closes; text only, and never more of it than can be read. */

import { useState } from "preact/hooks";
import type { Json } from "../protocol";
import { inert, oneLine } from "./inert";
import { count, plural } from "./format";

const ENTRIES = 100;
const TEXT = 1000;

export function JsonTree({ value, name, depth = 0 }: { value: Json; name?: string; depth?: number }) {
  const [shown, setShown] = useState(ENTRIES);
  const label = name === undefined ? null : <span class="json-name">{inert(name, 120)}</span>;
  if (value === null || typeof value !== "object")
    return (
      <div class="json-leaf">
        {label}
        <Leaf value={value} />
      </div>
    );
  const entries = Object.entries(value);
  const isList = Array.isArray(value);
  if (entries.length === 0)
    return (
      <div class="json-leaf">
        {label}
        <span class="muted">{isList ? "[ ]" : "{ }"}</span>
      </div>
    );
  return (
    <details class="json-node" open={depth < 2}>
      <summary>
        {label}
        <span class="muted">{isList ? plural(entries.length, "item") : plural(entries.length, "field")}</span>
        <span class="json-preview">{oneLine(value, 80)}</span>
      </summary>
      <div class="json-inside">
        {entries.slice(0, shown).map(([key, inner]) => (
          <JsonTree key={key} name={key} value={inner as Json} depth={depth + 1} />
        ))}
        {entries.length > shown ? (
          <button type="button" class="chip" onClick={() => setShown(shown + ENTRIES)}>
            {count(entries.length - shown)} more
          </button>
        ) : null}
      </div>
    </details>
  );
}

function Leaf({ value }: { value: null | boolean | number | string }) {
  const [all, setAll] = useState(false);
  if (typeof value !== "string") return <span class={`json-${value === null ? "null" : typeof value}`}>{String(value)}</span>;
  const limit = all ? 100_000 : TEXT;
  return (
    <span class="json-string">
      "{inert(value, limit)}"
      {value.length > limit && !all ? (
        <button type="button" class="chip" onClick={() => setAll(true)}>
          all {count(value.length)} characters
        </button>
      ) : null}
    </span>
  );
}
