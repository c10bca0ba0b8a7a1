/** `test`, the comparisons, and how the scripts of `static/` are loaded. */

{
  const tests = new Map();
  const registry = new Map();
  let lost = [];

  /** Declares a test by its claim. */
  globalThis.test = (claim, act) => {
    if (tests.has(claim)) throw new Error(`two tests claim: ${claim}`);
    tests.set(claim, act);
  };
  globalThis.claims = () => JSON.stringify([...tests.keys()]);

  /** A text of any value: two values are the same if their texts are. */
  const shown = (value) => {
    if (typeof value === "number" || value === undefined) return String(value);
    if (value === null || typeof value !== "object") return JSON.stringify(value) ?? String(value);
    if (value instanceof Map || value instanceof Set) return `${value.constructor.name} ${shown([...value])}`;
    if (Array.isArray(value)) return `[${value.map(shown).join(", ")}]`;
    return `{${Object.keys(value)
      .sort()
      .map((key) => `${key}: ${shown(value[key])}`)
      .join(", ")}}`;
  };

  globalThis.same = (actual, expected, why = "") => {
    if (shown(actual) !== shown(expected))
      throw new Error(`${why && `${why}: `}expected ${shown(expected)}, not ${shown(actual)}`);
  };
  globalThis.ok = (value, why = "") => {
    if (!value) throw new Error(`${why || "expected something true"}, not ${shown(value)}`);
  };
  globalThis.includes = (text, part) => ok(text.includes(part), `expected "${part}" in ${shown(text)}`);

  /** Loads a module of `static/`; with a query it is another one, as in a browser. */
  globalThis.load = (path, from = "") => {
    const { pathname, search } = new URL(path, `https://page/${from}`);
    const name = pathname.slice(1);
    const key = name + search;
    if (!registry.has(key)) {
      if (lost.some((end) => name.endsWith(end)))
        return Promise.reject(new TypeError(`Failed to fetch dynamically imported module: ${name}`));
      registry.set(key, evaluate(name));
    }
    return registry.get(key);
  };

  async function evaluate(name) {
    if (!(name in sources)) throw new TypeError(`there is no static/${name}`);
    const names = {};
    await (0, eval)(sources[name])((path) => load(path, name), names);
    return names;
  }

  /** Modules that the network loses, by the end of their names. */
  globalThis.lose = (...names) => (lost = names);
  globalThis.loaded = () => [...registry.keys()];

  /** Leaves the page: the storage of the browser and the cloud stay. */
  globalThis.leave = async () => {
    for (const exchange of network.sent) exchange.cancel();
    await settled();
    forgetTimers();
    for (const target of [window, document]) target.forgetListeners();
    document.body.replaceChildren();
    registry.clear();
  };

  globalThis.run = (claim) => {
    let outcome;
    const end = (text) => (outcome = JSON.stringify(text));
    const act = async () => {
      await tests.get(claim)();
      await settled();
      if (complaints.length > 0) throw new Error(`the page complains: ${complaints.join("\n")}`);
    };
    act().then(
      () => end(""),
      (error) => end(`${error}\n${error?.stack ?? ""}`),
    );
    return () => outcome ?? null;
  };
}
