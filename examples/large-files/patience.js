const PREFIX = "/oss/";
const MOST_TRIES = 50;

/** Load this before Uppy: what our server answers 503 or 429 is sent again after the seconds of Retry-After. */
const ask = globalThis.fetch;
globalThis.fetch = async (request, options) => {
  for (let tries = 1; ; tries += 1) {
    const response = await ask(request, options);
    const isOurs = new URL(request.url ?? request, location.href).pathname.startsWith(PREFIX);
    const seconds = Number(response.headers.get("Retry-After"));
    if (!isOurs || ![429, 503].includes(response.status) || !seconds || tries === MOST_TRIES) return response;
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
    options?.signal?.throwIfAborted();
  }
};
