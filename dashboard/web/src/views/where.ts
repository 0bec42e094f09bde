/** A filter by fields as people type it: `symbol=AAPL, price=175.25, user.name="x, y", level=WARN|ERROR`. Pure. */

import type { Json, Where } from "../protocol";

const FIELDS = 8;

export function parseWhere(text: string): { where: Where } | { error: string } {
  const where: Where = {};
  for (const piece of split(text, ",")) {
    const at = piece.indexOf("=");
    const name = piece.slice(0, at < 0 ? undefined : at).trim();
    if (at < 0 || name === "") return { error: `"${piece.trim()}": expected field=value` };
    const values = split(piece.slice(at + 1), "|").map(value);
    where[name] = values.length === 1 ? (values[0] ?? null) : values;
  }
  if (Object.keys(where).length > FIELDS) return { error: `at most ${FIELDS} fields` };
  return { where };
}

/** Pieces between `separator`, but not within quotes; empty ones are left out. */
function split(text: string, separator: string): string[] {
  const pieces: string[] = [];
  let piece = "";
  let quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at] as string;
    if (character === "\\" && quoted) {
      piece += character + (text[at + 1] ?? "");
      at += 1;
      continue;
    }
    if (character === '"') quoted = !quoted;
    if (character === separator && !quoted) {
      pieces.push(piece);
      piece = "";
    } else piece += character;
  }
  pieces.push(piece);
  return pieces.map((each) => each.trim()).filter((each) => each !== "");
}

/** Numbers, true, false, null and quoted text as in JSON; anything else is text. */
function value(text: string): Json {
  try {
    const parsed = JSON.parse(text) as Json;
    return typeof parsed === "object" && parsed !== null ? text : parsed;
  } catch {
    return text;
  }
}
