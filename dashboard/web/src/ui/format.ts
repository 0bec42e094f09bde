/** Numbers, spans and times for people. Pure; the words are English, numbers and times follow the browser. */

const DIGITS = new Map<string, Intl.NumberFormat>();

function formatter(key: string, options: Intl.NumberFormatOptions): Intl.NumberFormat {
  let made = DIGITS.get(key);
  if (!made) DIGITS.set(key, (made = new Intl.NumberFormat("en", options)));
  return made;
}

export const NOTHING = "\u2013";

/** A count: whole up to 99,999, compact above. */
export function count(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NOTHING;
  if (Math.abs(value) < 100_000) return formatter("whole", { maximumFractionDigits: 0 }).format(value);
  return formatter("compact", { notation: "compact", maximumSignificantDigits: 3 }).format(value);
}

/** A whole number, never shortened (offsets). */
export function exact(value: number | null | undefined): string {
  return value === null || value === undefined ? NOTHING : formatter("exact", { maximumFractionDigits: 0 }).format(value);
}

/** A measured value: fixed decimals when asked for, else four significant digits. */
export function measure(value: number | null | undefined, decimals: number | null = null): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NOTHING;
  if (decimals !== null)
    return formatter(`d${decimals}`, { minimumFractionDigits: decimals, maximumFractionDigits: decimals }).format(value);
  if (Math.abs(value) >= 100_000) return count(value);
  if (Math.abs(value) >= 1000) return formatter("whole", { maximumFractionDigits: 0 }).format(value);
  return formatter("s4", { maximumSignificantDigits: 4 }).format(value);
}

/** A rate a person can read: three significant digits, per second. */
export function rate(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NOTHING;
  if (value === 0) return "0/s";
  const digits = value >= 100_000 ? count(value) : formatter("s3", { maximumSignificantDigits: 3 }).format(value);
  return `${digits}/s`;
}

/** A duration in seconds. */
export function span(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return NOTHING;
  if (seconds === 0) return "0 s";
  if (seconds < 0.001) return "< 1 ms";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

/** Milliseconds, as latencies are measured. */
export function millis(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NOTHING;
  return value >= 1000 ? span(value / 1000) : `${measure(value < 10 ? Math.round(value * 10) / 10 : Math.round(value))} ms`;
}

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return NOTHING;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let left = value;
  while (left >= 1000 && unit < units.length - 1) {
    left /= 1000;
    unit += 1;
  }
  return `${measure(unit ? Math.round(left * 10) / 10 : left)} ${units[unit] ?? ""}`;
}

const two = (value: number): string => String(value).padStart(2, "0");

/** The time of day, with milliseconds when asked for. */
export function clock(time: number, withMillis = false): string {
  const at = new Date(time);
  const base = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return withMillis ? `${base}.${String(at.getMilliseconds()).padStart(3, "0")}` : base;
}

/** Day and time of day. */
export function stamp(time: number, withMillis = false): string {
  const at = new Date(time);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock(time, withMillis)}`;
}

/** The time of day today, else with the day. */
export function when(time: number, now: number): string {
  return new Date(time).toDateString() === new Date(now).toDateString() ? clock(time) : stamp(time);
}

/** For `<input type="datetime-local">`. */
export function localInput(time: number): string {
  return stamp(time).replace(" ", "T");
}

/** "exactly_once" as a person would write it. */
export function words(name: string): string {
  return name.replaceAll("_", " ");
}

/** One of something, or many. */
export function plural(many: number, one: string, more = `${one}s`): string {
  return `${count(many)} ${many === 1 ? one : more}`;
}
