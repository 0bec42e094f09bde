/** The path of a trend. Pure. */

import { share } from "./scale";

export const WIDTH = 200;
export const HEIGHT = 36;

/** The path of a trend, with gaps where there was no value. */
export function sparkPath(values: readonly (number | null)[]): string {
  const known = values.filter((value): value is number => value !== null);
  if (known.length < 2) return "";
  const least = Math.min(...known);
  const most = Math.max(...known);
  // Noise of a few percent is drawn as such, not blown up to the whole height.
  const room = Math.max(0, 0.2 * Math.max(Math.abs(least), Math.abs(most)) - (most - least)) / 2;
  const low = least - room;
  const high = most + room;
  let path = "";
  let pen = false;
  values.forEach((value, index) => {
    if (value === null) {
      pen = false;
      return;
    }
    const x = (index / (values.length - 1)) * WIDTH;
    const y = HEIGHT - 2 - (high === low ? 0.5 : share(value, low, high)) * (HEIGHT - 4);
    path += `${pen ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = true;
  });
  return path;
}
