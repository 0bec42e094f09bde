/** How wide columns should be, by what stands in them. Pure. */

export interface Width {
  number: boolean;
  /** Share of the room that is left, by the usual length of the text. */
  grow: number;
}

/** From the lines of text of some records, column by column; a column of numbers takes only what it needs. */
export function widths(columns: readonly (readonly { text: string; number: boolean }[])[]): Width[] {
  return columns.map((cells) => {
    const known = cells.filter((cell) => cell.text !== "");
    const number = known.length > 0 && known.every((cell) => cell.number);
    const lengths = known.map((cell) => cell.text.length).sort((a, b) => a - b);
    // What nine of ten need: one long text must not take the room of all others.
    const most = lengths[Math.floor((lengths.length - 1) * 0.9)] ?? 0;
    return { number, grow: number ? 0 : Math.min(60, Math.max(6, most)) };
  });
}
