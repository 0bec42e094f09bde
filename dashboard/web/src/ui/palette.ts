/**
 * Colours for series, after Okabe and Ito: told apart by people with any colour vision. The values are in the style
 * sheet (`--series-1` ...), darker on light ground. A shape and a dash go with each, so colour is never alone.
 */

export const COLOURS = 8;
export const SHAPES = ["circle", "square", "triangle", "diamond", "down", "cross", "plus", "ring"] as const;
export type Shape = (typeof SHAPES)[number];

export function colourName(index: number): string {
  return `--series-${(index % COLOURS) + 1}`;
}

export function shapeOf(index: number): Shape {
  return SHAPES[index % SHAPES.length] ?? "circle";
}

/** Dashes of the first, second ... value of one series. */
export const DASHES: readonly number[][] = [[], [5, 4], [2, 3], [9, 3, 2, 3]];

/** The outline of a shape around the middle of a box of 10. */
export function shapePath(shape: Shape): string {
  switch (shape) {
    case "circle":
      return "M5 1.2a3.8 3.8 0 1 0 .01 0z";
    case "square":
      return "M1.6 1.6h6.8v6.8h-6.8z";
    case "triangle":
      return "M5 .9 9.2 8.4H.8z";
    case "diamond":
      return "M5 .4 9.6 5 5 9.6.4 5z";
    case "down":
      return "M5 9.1.8 1.6h8.4z";
    case "cross":
      return "M2.2.9 5 3.7 7.8.9l1.3 1.3L6.3 5l2.8 2.8-1.3 1.3L5 6.3 2.2 9.1.9 7.8 3.7 5 .9 2.2z";
    case "plus":
      return "M3.9.8h2.2v3.1h3.1v2.2H6.1v3.1H3.9V6.1H.8V3.9h3.1z";
    case "ring":
      return "M5 .8a4.2 4.2 0 1 0 .01 0zM5 3a2 2 0 1 1-.01 0z";
  }
}
