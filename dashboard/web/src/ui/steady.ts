/**
 * Numbers that can be read while they move.
 *
 * A shown value stays until it has been up for `hold` ms, and then only gives way to one that differs by more than the
 * tolerance: 499, 501, 500 a second are one number to a person.
 */
export class Steady {
  private shown: number | null = null;
  private since = -Infinity;

  constructor(
    private readonly hold = 900,
    private readonly tolerance = 0.02,
  ) {}

  next(value: number | null, now: number): number | null {
    if (value === null || this.shown === null) {
      this.shown = value;
      this.since = now;
      return value;
    }
    const far = Math.abs(value - this.shown) > Math.abs(this.shown) * this.tolerance;
    const toOrFromZero = (value === 0) !== (this.shown === 0);
    if (toOrFromZero || (far && now - this.since >= this.hold)) {
      this.shown = value;
      this.since = now;
    }
    return this.shown;
  }
}
