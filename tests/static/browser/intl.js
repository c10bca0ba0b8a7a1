/**
 * Plurals by the rules of Unicode (CLDR 46), and numbers. Each language writes numbers as English does here: what a browser
 * makes of them is not ours.
 */

{
  const one = (n) => (n === 1 ? "one" : "other");
  const million = (n) => (n !== 0 && n % 1_000_000 === 0 ? "many" : "other");
  const belowTwo = (n) => (n < 2 ? "one" : million(n));
  const RULES = {
    ar: (n) => {
      const rest = n % 100;
      if (n <= 2) return ["zero", "one", "two"][n];
      return rest >= 3 && rest <= 10 ? "few" : rest >= 11 ? "many" : "other";
    },
    de: one,
    en: one,
    es: (n) => (n === 1 ? "one" : million(n)),
    fr: belowTwo,
    ja: () => "other",
    ko: () => "other",
    pt: belowTwo,
    ru: (n) => {
      const [last, rest] = [n % 10, n % 100];
      if (last === 1 && rest !== 11) return "one";
      return last >= 2 && last <= 4 && !(rest >= 12 && rest <= 14) ? "few" : "many";
    },
    zh: () => "other",
  };
  const CATEGORIES = {
    ar: "zero one two few many other",
    es: "one many other",
    fr: "one many other",
    pt: "one many other",
    ru: "one few many other",
  };
  const SHORT = { kilobyte: "kB", megabyte: "MB", gigabyte: "GB", terabyte: "TB" };
  const base = (tag) => tag.split("-")[0];

  class PluralRules {
    constructor(tag) {
      this.tag = base(tag);
    }

    select(n) {
      const rule = RULES[this.tag];
      return Number.isInteger(n) || rule === belowTwo ? rule(n) : "other";
    }

    resolvedOptions() {
      const usual = ["de", "en"].includes(this.tag) ? "one other" : "other";
      return { pluralCategories: (CATEGORIES[this.tag] ?? usual).split(" ") };
    }
  }

  class NumberFormat {
    static made = 0;

    constructor(tag, { style = "decimal", unit, unitDisplay = "short", minimumFractionDigits, maximumFractionDigits } = {}) {
      NumberFormat.made += 1;
      const isKnown = ["decimal", "percent", "unit"].includes(style) && ["short", "long"].includes(unitDisplay);
      if (!isKnown || (style === "unit" && unit !== "byte" && !SHORT[unit]))
        throw new RangeError(`${style} ${unit} ${unitDisplay}`);
      const highest = maximumFractionDigits ?? (style === "percent" ? 0 : 3);
      Object.assign(this, { style, unit, unitDisplay, lowest: minimumFractionDigits ?? 0, highest });
    }

    format(value) {
      const { style, unit, unitDisplay, lowest, highest } = this;
      const [whole, digits = ""] = (style === "percent" ? value * 100 : value).toFixed(highest).split(".");
      let fraction = digits;
      while (fraction.length > lowest && fraction.endsWith("0")) fraction = fraction.slice(0, -1);
      const text = whole.replace(/\B(?=(\d{3})+$)/g, ",") + (fraction && `.${fraction}`);
      if (style === "percent") return `${text}%`;
      if (style !== "unit") return text;
      return `${text} ${unitDisplay === "short" ? SHORT[unit] : `${unit}${Number(text) === 1 ? "" : "s"}`}`;
    }
  }

  globalThis.Intl = { PluralRules, NumberFormat };
}
