/** What outlives a page: sessionStorage and IndexedDB. */

{
  const texts = new Map();
  globalThis.sessionStorage = {
    isFull: false,
    getItem: (name) => texts.get(name) ?? null,
    setItem(name, text) {
      if (this.isFull) throw new DOMException("The quota has been exceeded.", "QuotaExceededError");
      texts.set(name, String(text));
    },
    removeItem: (name) => void texts.delete(name),
  };

  const databases = new Map();
  const copy = (value) => JSON.parse(JSON.stringify(value));

  class Request extends EventTarget {
    succeed(result) {
      this.result = result;
      this.dispatchEvent(new Event("success"));
    }
  }

  /** Stores with a key path, which a transaction reads and writes; a transaction ends after its requests. */
  class Database {
    #stores = new Map();

    createObjectStore(name, { keyPath }) {
      this.#stores.set(name, { keyPath, records: new Map() });
    }

    transaction(name, mode) {
      const transaction = new EventTarget();
      const { keyPath, records } = this.#stores.get(name);
      const request = (act) => {
        const asked = new Request();
        task(() => {
          const { failing } = indexedDB;
          if (failing) transaction.error = new DOMException("There is no room.", "QuotaExceededError");
          else asked.succeed(act());
          task(() => transaction.dispatchEvent(new Event(failing ?? "complete")));
        });
        return asked;
      };
      const write = (act) => {
        if (mode !== "readwrite") throw new DOMException("The transaction is read-only.", "ReadOnlyError");
        return request(act);
      };
      transaction.objectStore = () => ({
        put: (record) => write(() => records.set(record[keyPath], copy(record)) && record[keyPath]),
        delete: (key) => write(() => void records.delete(key)),
        getAll: () => request(() => [...records.values()].map(copy)),
      });
      return transaction;
    }

    /** The records of a store, for tests. */
    records(name) {
      return [...(this.#stores.get(name)?.records.values() ?? [])];
    }

    close() {}
  }

  globalThis.indexedDB = {
    /** A browser has none in some private windows, and opening it fails. */
    isBroken: false,
    /** With what event each transaction fails, if any: "error" or "abort". */
    failing: null,
    /** How often it was opened. */
    opened: 0,
    open(name) {
      const request = new Request();
      indexedDB.opened += 1;
      task(() => {
        if (indexedDB.isBroken) {
          request.error = new DOMException("There is no database here.", "InvalidStateError");
          request.dispatchEvent(new Event("error"));
          return;
        }
        const isNew = !databases.has(name);
        if (isNew) databases.set(name, new Database());
        request.result = databases.get(name);
        if (isNew) request.dispatchEvent(new Event("upgradeneeded"));
        request.succeed(request.result);
      });
      return request;
    },
    records: (name) => databases.get(name)?.records(name) ?? [],
  };
}
