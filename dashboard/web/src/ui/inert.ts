/**
 * Record content for the eye: never markup, never able to change the text around it.
 *
 * The page only ever puts content into text nodes; this makes visible what a text node would still obey or hide:
 * control characters (ANSI escapes begin with one), bidirectional overrides, zero-width and other unseen characters.
 */

import type { Json, Raw } from "../protocol";

// C0, DEL, C1; soft hyphen, Arabic letter mark, Mongolian separator; zero-width and direction marks; line and paragraph
// separators; embeddings, overrides, isolates and invisible operators; byte order mark; annotations; tags; lone surrogates.
const UNSEEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}\p{Cs}]/gu;

function visible(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  if (code === 0x0a) return "\u23ce";
  if (code === 0x09) return "\u21e5";
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  if (code === 0x7f) return "\u2421";
  return `\u27e8U+${code.toString(16).toUpperCase().padStart(4, "0")}\u27e9`;
}

/** `text`, cut to `limit` characters (0: all), with everything unseen made visible. */
export function inert(text: string, limit = 240): string {
  // Cut before the replacement: a line of a megabyte must cost no more than a short one.
  const cut = limit > 0 && text.length > limit;
  const shown = (cut ? text.slice(0, limit) : text).replace(UNSEEN, visible);
  return cut ? `${shown}\u2026` : shown;
}

/** One JSON value on one line. Only as much of it is written as `limit` can show. */
export function oneLine(value: Json | undefined, limit = 240): string {
  if (value === undefined) return "";
  if (typeof value === "string") return inert(value, limit);
  const parts: string[] = [];
  write(value, parts, { left: limit + 1 });
  return inert(parts.join(""), limit);
}

function write(value: Json, parts: string[], budget: { left: number }): void {
  const put = (text: string): void => {
    parts.push(text);
    budget.left -= text.length;
  };
  if (value === null || typeof value !== "object") {
    put(typeof value === "string" ? JSON.stringify(value.slice(0, Math.max(0, budget.left))) : String(value));
    return;
  }
  if (Array.isArray(value)) {
    put("[");
    for (let index = 0; index < value.length && budget.left > 0; index += 1) {
      if (index > 0) put(", ");
      write(value[index] ?? null, parts, budget);
    }
    put("]");
    return;
  }
  put("{");
  let first = true;
  for (const name in value) {
    if (budget.left <= 0) break;
    put(`${first ? "" : ", "}${name}: `);
    first = false;
    write(value[name] ?? null, parts, budget);
  }
  put("}");
}

/** A record's value, or what stands in for it. */
export function valueLine(value: Json, raw: Raw | undefined, limit = 240): string {
  return raw ? inert(raw.text, limit) : oneLine(value, limit);
}

/** The value of a field; dots go into nested objects. */
export function field(value: Json, path: string): Json | undefined {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return undefined;
  if (path in value) return value[path];
  let at: Json | undefined = value;
  for (const name of path.split(".")) {
    if (at === null || at === undefined || typeof at !== "object" || Array.isArray(at)) return undefined;
    at = at[name];
  }
  return at;
}
