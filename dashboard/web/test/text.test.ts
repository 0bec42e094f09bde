import { describe, expect, it } from "vitest";
import { field, inert, oneLine, valueLine } from "../src/ui/inert";
import { bytes, count, measure, millis, NOTHING, plural, rate, span } from "../src/ui/format";
import { parseWhere } from "../src/views/where";

describe("inert", () => {
  it("leaves ordinary text of any script alone", () => {
    for (const text of ["AAPL 175.25", "\u65e5\u672c\u8a9e", "\u05e9\u05dc\u05d5\u05dd", "\ud83d\ude80 go", "<script>alert(1)</script>"]) expect(inert(text)).toBe(text);
  });

  it("makes control characters visible, so that an ANSI sequence is plain text", () => {
    expect(inert("\u001b[31mred\u0000\u007f")).toBe("\u241b[31mred\u2400\u2421");
    expect(inert("a\nb\tc")).toBe("a\u23ceb\u21e5c");
  });

  it("takes the power from bidirectional overrides and shows what has no width", () => {
    expect(inert("\u202egpj.exe")).toBe("\u27e8U+202E\u27e9gpj.exe");
    expect(inert("a\u200bb\u2066c\ufeff")).toBe("a\u27e8U+200B\u27e9b\u27e8U+2066\u27e9c\u27e8U+FEFF\u27e9");
    expect(inert("\u{e0041}")).toBe("\u27e8U+E0041\u27e9");
    expect(inert("\ud800")).toBe("\u27e8U+D800\u27e9");
  });

  it("cuts a long line before doing anything else with it", () => {
    expect(inert("x".repeat(1_000_000), 10)).toBe(`${"x".repeat(10)}\u2026`);
  });
});

describe("one line", () => {
  it("writes JSON so that it can be read", () => {
    expect(oneLine({ symbol: "AAPL", tags: ["a", 1, null], more: { yes: true } })).toBe('{symbol: "AAPL", tags: ["a", 1, null], more: {yes: true}}');
  });

  it("costs no more than what it shows", () => {
    let read = 0;
    const list = new Proxy(Array.from({ length: 100_000 }, (_, index) => index), {
      get: (target, name) => {
        read += 1;
        return Reflect.get(target, name) as unknown;
      },
    });
    expect(oneLine({ list }, 100).length).toBe(101);
    expect(read).toBeLessThan(200);
  });

  it("shows what stands in for a value", () => {
    expect(valueLine(null, { why: "large", bytes: 9, text: "aaaa" })).toBe("aaaa");
  });

  it("finds a field by its path, and one whose name has a dot", () => {
    expect(field({ a: { b: 1 } }, "a.b")).toBe(1);
    expect(field({ "a.b": 2 }, "a.b")).toBe(2);
    expect(field([1], "0")).toBeUndefined();
    expect(field({ a: null }, "a.b")).toBeUndefined();
  });
});

describe("format", () => {
  it("shortens only large counts", () => {
    expect([count(0), count(12_000), count(1_234_567), count(null), count(NaN)]).toEqual(["0", "12,000", "1.23M", NOTHING, NOTHING]);
  });

  it("gives rates three digits", () => {
    expect([rate(0), rate(499.87), rate(0.1234), rate(12_345), rate(null)]).toEqual(["0/s", "500/s", "0.123/s", "12,300/s", NOTHING]);
  });

  it("keeps the decimals that are asked for", () => {
    expect([measure(3.14159, 2), measure(3.14159), measure(2, 2), measure(123456)]).toEqual(["3.14", "3.142", "2.00", "123K"]);
  });

  it("says spans in the unit that fits", () => {
    expect([0, 0.0001, 0.25, 9.96, 45, 600, 7300, 86_400 * 3].map(span)).toEqual(["0 s", "< 1 ms", "250 ms", "10.0 s", "45 s", "10 min", "2 h", "3 d"]);
    expect([millis(2.14), millis(140.2), millis(2500)]).toEqual(["2.1 ms", "140 ms", "2.5 s"]);
  });

  it("says sizes and plurals", () => {
    expect([bytes(999), bytes(1_048_576), plural(1, "record"), plural(2, "try", "tries")]).toEqual(["999 B", "1 MB", "1 record", "2 tries"]);
  });
});

describe("a filter as people type it", () => {
  it("takes numbers, words, quoted text and several values", () => {
    expect(parseWhere('symbol=AAPL, price=175.25, name="x, y", level=WARN|ERROR, ok=true, gone=null')).toEqual({
      where: { symbol: "AAPL", price: 175.25, name: "x, y", level: ["WARN", "ERROR"], ok: true, gone: null },
    });
    expect(parseWhere("  ")).toEqual({ where: {} });
    expect(parseWhere("$key=a=b")).toEqual({ where: { $key: "a=b" } });
  });

  it("says what is wrong", () => {
    expect(parseWhere("symbol")).toEqual({ error: '"symbol": expected field=value' });
    expect(parseWhere("a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1")).toEqual({ error: "at most 8 fields" });
  });
});
