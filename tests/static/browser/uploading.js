/** What most tests of uploads begin with. */

{
  const TYPES = ["add", "state", "progress", "done", "fail", "cancel", "remove", "resumable", "idle"];

  /** Returns a small text file. */
  globalThis.text = (name = "a.txt", content = "hello", options = {}) =>
    new File([content], name, { type: "text/plain", lastModified: 1_700_000_000_000, ...options });

  /** Returns a new Uploader; its `log` is what it tells, such as "state a.txt sending". */
  globalThis.newUploader = async (options) => {
    const { Uploader } = await load("upload.js");
    const uploader = Object.assign(new Uploader(options), { log: [] });
    for (const type of TYPES) {
      uploader.addEventListener(type, ({ detail: { item } }) => {
        uploader.log.push([type, item?.file.name, type === "state" && item.state].filter(Boolean).join(" "));
      });
    }
    return uploader;
  };

  /** Adds files and starts them; returns their items when nothing more happens without time. */
  globalThis.upload = async (uploader, ...files) => {
    const items = uploader.add(files);
    uploader.start();
    await settled();
    return items;
  };

  globalThis.states = (uploader) => uploader.items.map(({ state }) => state);
  globalThis.told = (uploader, type) =>
    uploader.log.filter((line) => line.startsWith(type)).map((line) => line.slice(type.length + 1));
}
