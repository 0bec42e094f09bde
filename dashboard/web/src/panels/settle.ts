/** An order that a person can follow: keys keep their places for a while although their sizes change all the time. */
export class Settled {
  private order: string[] = [];
  private sorted = -Infinity;

  constructor(private readonly hold = 4000) {}

  /** `keys` come sorted; given back in the order last shown, new ones behind, sorted anew every `hold` ms. */
  arrange(keys: readonly string[], now: number): string[] {
    if (now - this.sorted >= this.hold) {
      this.sorted = now;
      this.order = [...keys];
      return this.order;
    }
    const present = new Set(keys);
    const kept = this.order.filter((key) => present.has(key));
    const known = new Set(kept);
    this.order = kept.concat(keys.filter((key) => !known.has(key)));
    return this.order;
  }
}
