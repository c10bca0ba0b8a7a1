/** `choosing.js`: what a person drops or pastes. */

const failing = () => new DOMException("gone", "NotFoundError");

/** A dropped file or folder; a browser gives at most a hundred entries of a folder at a time. */
const entry = (path, content) => ({
  fullPath: `/${path}`,
  isFile: !Array.isArray(content),
  isDirectory: Array.isArray(content),
  file: (done, fail) => task(() => (content === null ? fail(failing()) : done(text(path.split("/").at(-1), content)))),
  createReader() {
    const left = [...content];
    return { readEntries: (done, fail) => task(() => (left.includes(null) ? fail(failing()) : done(left.splice(0, 100)))) };
  },
});
const dropped = (...entries) => ({
  items: entries.map((one) => ({ kind: "file", webkitGetAsEntry: () => one })),
  files: entries.filter((one) => one?.isFile).map((one) => text(one.fullPath.slice(1))),
});
const shown = ({ files, unreadable }) => [files.map(({ file, path }) => [file.name, path]), unreadable];

test("a dropped folder's files keep their paths, and those beside it have none", async () => {
  const { filesIn } = await load("choosing.js");
  const folder = entry("holidays", [
    entry("holidays/sea.jpg", "a"),
    entry("holidays/2026", [entry("holidays/2026/sun.jpg", "b")]),
  ]);
  same(shown(await filesIn(dropped(entry("beside.txt", "c"), folder))), [
    [
      ["beside.txt", ""],
      ["sea.jpg", "holidays/sea.jpg"],
      ["sun.jpg", "holidays/2026/sun.jpg"],
    ],
    0,
  ]);
});

test("a folder of more than a hundred files is read to its end", async () => {
  const { filesIn } = await load("choosing.js");
  const folder = entry(
    "many",
    Array.from({ length: 250 }, (_, number) => entry(`many/${number}.txt`, "a")),
  );
  const { files } = await filesIn(dropped(folder));
  same([files.length, files.at(-1).path], [250, "many/249.txt"]);
});

test("what the system keeps in folders is left out", async () => {
  const { filesIn, isOfSystem } = await load("choosing.js");
  const names = [".DS_Store", "Thumbs.db", "desktop.ini", "._sea.jpg", ".localized", "ehthumbs.db", "DESKTOP.INI"];
  for (const name of names)
    same([name, isOfSystem(`f/${name}`), isOfSystem(`f/g/${name}`), isOfSystem(name)], [name, true, true, false]);
  for (const path of ["f/sea.jpg", "f/a.DS_Store", "f/Thumbs.db.txt", "f/my desktop.ini", "f/DS_Store"])
    same([path, isOfSystem(path)], [path, false]);
  same([isOfSystem("__MACOSX/sea.jpg"), isOfSystem("f/__MACOSX/a/sea.jpg")], [true, true]);
  const folder = entry("f", [...names.map((name) => entry(`f/${name}`, "x")), entry("f/sea.jpg", "a")]);
  same(shown(await filesIn(dropped(folder))), [[["sea.jpg", "f/sea.jpg"]], 0]);
});

test("without a folder the browser's own files are taken", async () => {
  const { filesIn } = await load("choosing.js");
  const data = dropped(entry("a.txt", "a"), entry(".DS_Store", "b"));
  const { files, unreadable } = await filesIn(data);
  same([files.map(({ name }) => name), unreadable, files[0] === data.files[0]], [["a.txt", ".DS_Store"], 0, true]);
});

test("a drop of texts, and of a browser without entries, is no folder", async () => {
  const { filesIn } = await load("choosing.js");
  const plain = [text()];
  const items = [
    { kind: "string", webkitGetAsEntry: () => ok(false, "a text has no entry") },
    { kind: "file" },
    { kind: "file", webkitGetAsEntry: () => null },
  ];
  same((await filesIn({ items, files: plain })).files.length, 1);
  same(shown(await filesIn({ items: [...items, ...dropped(entry("f", [])).items], files: plain })), [[], 0]);
});

test("what cannot be read is counted, and the rest is taken", async () => {
  const { filesIn } = await load("choosing.js");
  const folder = entry("f", [entry("f/gone.txt", null), entry("f/there.txt", "a"), entry("f/locked", [null])]);
  same(shown(await filesIn(dropped(folder))), [[["there.txt", "f/there.txt"]], 2]);
});

const png = (name = "image.png", type = "image/png") => new File(["png"], name, { type, lastModified: 7 });
const at = new Date(2026, 0, 2, 3, 4, 5);

test("a pasted picture gets a name by its moment, and a second one a number", async () => {
  const { nameOfPasted } = await load("choosing.js");
  const names = new Set(["a.txt"]);
  const pasted = nameOfPasted(png(), "Screenshot", names, at);
  same(
    [pasted.name, pasted.type, pasted.lastModified, await pasted.text()],
    ["Screenshot 2026-01-02 03-04-05.png", "image/png", 7, "png"],
  );
  const more = [1, 2].map(() => nameOfPasted(png(), "Screenshot", names, at).name);
  same(more, ["Screenshot 2026-01-02 03-04-05 (2).png", "Screenshot 2026-01-02 03-04-05 (3).png"]);
  same(
    nameOfPasted(png("Image.JPEG", "image/jpeg"), "Bild", names, new Date(2026, 11, 31, 23, 59, 58)).name,
    "Bild 2026-12-31 23-59-58.JPEG",
  );
  same([...names].length, 5);
});

test("a pasted file with a name of its own keeps it", async () => {
  const { nameOfPasted } = await load("choosing.js");
  for (const file of [
    png("cat.png"),
    png("image"),
    png("my image.png"),
    png("image.png.txt"),
    png("image.tar.gz"),
    png("image.txt", "text/plain"),
    png("image.png", ""),
  ]) {
    ok(nameOfPasted(file, "Screenshot", new Set(), at) === file, file.name);
  }
});
