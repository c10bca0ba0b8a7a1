/** Events, their targets, and what aborts. */

{
  class Event {
    #path = [];

    constructor(type, { bubbles = false, cancelable = false, composed = false, ...rest } = {}) {
      Object.assign(this, { type, bubbles, cancelable, composed, target: null, defaultPrevented: false, isStopped: false });
      Object.assign(this, { isTrusted: false, eventPhase: 0, timeStamp: performance.now() }, rest);
    }

    preventDefault() {
      if (this.cancelable) this.defaultPrevented = true;
    }

    stopPropagation() {
      this.isStopped = true;
    }

    stopImmediatePropagation() {
      this.isStopped = this.isStoppedAtOnce = true;
    }

    composedPath() {
      return [...this.#path];
    }

    /** Where the event goes: to its target, what is around it, and the window. */
    travel(path) {
      this.#path = path;
      return path;
    }
  }

  class CustomEvent extends Event {
    constructor(type, { detail = null, ...rest } = {}) {
      super(type, { ...rest, detail });
    }
  }

  class EventTarget {
    #listeners = [];

    addEventListener(type, listener, options) {
      const { capture = false, once = false, signal } = typeof options === "object" ? options : { capture: options };
      const isKnown = this.#listeners.some(
        (other) => other.type === type && other.listener === listener && other.capture === capture,
      );
      if (isKnown || signal?.aborted) return;
      this.#listeners.push({ type, listener, capture, once });
      signal?.addEventListener("abort", () => this.removeEventListener(type, listener, capture));
    }

    removeEventListener(type, listener, options) {
      const capture = typeof options === "object" ? (options.capture ?? false) : (options ?? false);
      this.#listeners = this.#listeners.filter(
        (other) => other.type !== type || other.listener !== listener || other.capture !== capture,
      );
    }

    forgetListeners() {
      this.#listeners = [];
    }

    countListeners(type) {
      return this.#listeners.filter((other) => other.type === type).length;
    }

    dispatchEvent(event) {
      const path = event.travel([...around(this, event)]);
      const outward = event.bubbles ? path : path.filter((target) => target === this || target.shadowRoot);
      const steps = [...[...path].reverse().map((target) => [target, true]), ...outward.map((target) => [target, false])];
      for (const [target, capture] of steps) {
        if (event.isStopped) break;
        event.target = seenFrom(target, path);
        event.eventPhase = target === this ? 2 : capture ? 1 : 3;
        target.hear(event, capture);
      }
      event.eventPhase = 0;
      return !event.defaultPrevented;
    }

    hear(event, capture) {
      event.currentTarget = this;
      for (const entry of [...this.#listeners]) {
        if (entry.type !== event.type || entry.capture !== capture || !this.#listeners.includes(entry)) continue;
        if (event.isStoppedAtOnce) break;
        if (entry.once) this.removeEventListener(entry.type, entry.listener, entry.capture);
        guarded(() => entry.listener.call(this, event));
      }
    }
  }

  function* around(target, event) {
    for (let node = target; node; node = node.outer?.(event)) yield node;
  }

  /** An event inside a shadow root looks from outside as if the host had it. */
  function seenFrom(target, path) {
    const hosts = path.slice(0, path.indexOf(target) + 1).filter((node) => node.shadowRoot && path.includes(node.shadowRoot));
    return hosts.at(-1) ?? path[0];
  }

  class AbortSignal extends EventTarget {
    aborted = false;

    throwIfAborted() {
      if (this.aborted) throw this.reason;
    }
  }

  class AbortController {
    signal = new AbortSignal();

    abort(reason = new DOMException("signal is aborted without reason", "AbortError")) {
      if (this.signal.aborted) return;
      Object.assign(this.signal, { aborted: true, reason });
      this.signal.dispatchEvent(new Event("abort"));
    }
  }

  Object.assign(globalThis, { Event, CustomEvent, EventTarget, AbortController, AbortSignal });

  globalThis.window = new EventTarget();
  for (const name of ["addEventListener", "removeEventListener", "dispatchEvent"]) globalThis[name] = window[name].bind(window);
}
