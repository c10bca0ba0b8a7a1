/** The clock and the tasks of a page. Time passes when a test says so, and nothing sleeps. */

{
  const tasks = [];
  const timers = new Map();
  const resting = [];
  let lastTimer = 0;
  let now = 0;
  const start = Date.UTC(2026, 10, 26, 14, 5, 9);
  const RealDate = Date;

  const next = () => [...timers].sort(([a, one], [b, two]) => one.due - two.due || a - b)[0];

  /**
   * Runs the oldest task, or a timer that is due; returns whether there was one. `conftest.py` calls it when no promise
   * has anything left to do.
   */
  globalThis.runTask = () => {
    let act = tasks.shift();
    const [id, timer] = next() ?? [];
    if (!act && timer?.due <= now) {
      act = timer.act;
      if (timer.every === null) timers.delete(id);
      else timer.due += timer.every;
    }
    act ??= resting.shift();
    if (act) guarded(act);
    return act !== undefined;
  };

  /** What a browser would write into its console; a test fails if anything is in it at its end. */
  globalThis.complaints = [];
  globalThis.guarded = (act, ...rest) => {
    try {
      return act(...rest);
    } catch (error) {
      complaints.push(`${error}\n${error.stack}`);
      return undefined;
    }
  };

  /** Does something when the page has nothing else to do, as a browser does with what comes from outside. */
  globalThis.task = (act) => void tasks.push(act);

  /** Resolves when nothing more happens unless time passes. */
  globalThis.settled = () => new Promise((resolve) => resting.push(resolve));

  /** Lets seconds pass, with each timer at its moment. */
  globalThis.pass = async (seconds) => {
    const end = now + seconds * 1000;
    await settled();
    for (let [, timer] = next() ?? []; timer?.due <= end; [, timer] = next() ?? []) {
      now = timer.due;
      await settled();
    }
    now = end;
    await settled();
  };

  const set = (act, milliseconds, every, rest) => {
    timers.set(++lastTimer, { act: () => act(...rest), due: now + Math.max(0, milliseconds), every });
    return lastTimer;
  };
  globalThis.setTimeout = (act, milliseconds = 0, ...rest) => set(act, milliseconds, null, rest);
  globalThis.setInterval = (act, milliseconds, ...rest) => set(act, milliseconds, Math.max(4, milliseconds), rest);
  globalThis.requestAnimationFrame = (act) => set(act, 16, null, []);
  globalThis.clearTimeout = globalThis.clearInterval = (id) => void timers.delete(id);
  globalThis.forgetTimers = () => timers.clear();
  globalThis.timersLeft = () => timers.size;
  globalThis.performance = { now: () => now };
  globalThis.Date = class extends RealDate {
    constructor(...parts) {
      if (parts.length > 0) super(...parts);
      else super(start + now);
    }

    static now() {
      return start + now;
    }
  };
  Math.random = () => 0.5;
}
