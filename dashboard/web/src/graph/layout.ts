/**
 * The pipeline as layers: every arrow goes from a layer to a later one, nodes of a layer stand where their neighbours
 * are. Pure; sizes in CSS pixels come in, places come out.
 */

export interface GraphNode {
  id: string;
}

export interface GraphEdge {
  from: string;
  to: string;
}

export interface Sizes {
  node: { width: number; height: number };
  gap: { layer: number; node: number };
  /** Layers run to the right, or (on a narrow page) down. */
  down: boolean;
}

export interface Placed {
  x: number;
  y: number;
  layer: number;
}

export interface Layout {
  places: Map<string, Placed>;
  width: number;
  height: number;
}

/** The layer of each node: as early as its inputs allow; an arrow that closes a circle does not count. */
export function layers(nodes: readonly GraphNode[], edges: readonly GraphEdge[]): Map<string, number> {
  const inputs = new Map<string, string[]>(nodes.map((node) => [node.id, []]));
  for (const edge of edges) if (inputs.has(edge.from)) inputs.get(edge.to)?.push(edge.from);
  const found = new Map<string, number>();
  const open = new Set<string>();
  const visit = (id: string): number => {
    const known = found.get(id);
    if (known !== undefined) return known;
    if (open.has(id)) return -1;
    open.add(id);
    const layer = 1 + Math.max(-1, ...(inputs.get(id) ?? []).map(visit));
    open.delete(id);
    found.set(id, layer);
    return layer;
  };
  for (const node of nodes) visit(node.id);
  return found;
}

export function layout(nodes: readonly GraphNode[], edges: readonly GraphEdge[], sizes: Sizes): Layout {
  const byLayer = layers(nodes, edges);
  const columns: string[][] = [];
  for (const node of nodes) (columns[byLayer.get(node.id) ?? 0] ??= []).push(node.id);
  for (let index = 0; index < columns.length; index += 1) columns[index] ??= [];

  const neighbours = new Map<string, string[]>(nodes.map((node) => [node.id, []]));
  for (const { from, to } of edges) {
    neighbours.get(from)?.push(to);
    neighbours.get(to)?.push(from);
  }
  const across = sizes.down ? sizes.node.width : sizes.node.height;
  const pitch = across + sizes.gap.node;
  const tallest = Math.max(1, ...columns.map((column) => column.length));
  const place = new Map<string, number>();
  const spread = (column: string[]): void => {
    const before = ((tallest - column.length) * pitch) / 2;
    column.forEach((id, index) => place.set(id, before + index * pitch));
  };
  columns.forEach(spread);
  // Sorting each layer by the middle of its neighbours, there and back, removes most crossings.
  for (let sweep = 0; sweep < 6; sweep += 1) {
    const order = sweep % 2 === 0 ? columns : [...columns].reverse();
    for (const column of order) {
      const middle = new Map(column.map((id) => [id, mean((neighbours.get(id) ?? []).map((of) => place.get(of) ?? 0), place.get(id) ?? 0)]));
      column.sort((a, b) => (middle.get(a) ?? 0) - (middle.get(b) ?? 0));
      spread(column);
    }
  }
  const along = sizes.down ? sizes.node.height : sizes.node.width;
  const step = along + sizes.gap.layer;
  const places = new Map<string, Placed>();
  columns.forEach((column, layer) => {
    for (const id of column) {
      const offset = place.get(id) ?? 0;
      places.set(id, sizes.down ? { x: offset, y: layer * step, layer } : { x: layer * step, y: offset, layer });
    }
  });
  const length = Math.max(0, columns.length * step - sizes.gap.layer);
  const breadth = tallest * pitch - sizes.gap.node;
  return { places, width: sizes.down ? breadth : length, height: sizes.down ? length : breadth };
}

function mean(values: readonly number[], otherwise: number): number {
  return values.length === 0 ? otherwise : values.reduce((sum, value) => sum + value, 0) / values.length;
}
