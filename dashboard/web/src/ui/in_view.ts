/** Which rows of one height are in view: first and one past the last, with a few more on either side. Pure. */
export function inView(scroll: number, height: number, row: number, many: number, extra = 4): [number, number] {
  const first = Math.max(0, Math.min(many, Math.floor(scroll / row) - extra));
  return [first, Math.min(many, Math.ceil((scroll + height) / row) + extra)];
}
