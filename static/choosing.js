/** What a person drops or pastes, as files for an Uploader. */

/**
 * Returns the dropped files and those inside dropped folders, which keep their paths, and how many could not be read.
 * Files that the system keeps in folders, such as `.DS_Store`, are left out.
 * Entries can be read only before the first await.
 */
export async function filesIn({ items, files: plain }) {
  const entries = Array.from(items, (item) => item.kind === "file" && item.webkitGetAsEntry?.());
  const flat = [...plain];
  if (!entries.some((entry) => entry && entry.isDirectory)) return { files: flat, unreadable: 0 };
  const dropped = { files: [], unreadable: 0 };
  for (const entry of entries) if (entry) await walk(entry, dropped);
  return dropped;
}

/** What macOS and Windows keep in folders and nobody means to send. */
const OF_SYSTEM = /(^|\/)(\.DS_Store|\._[^/]*|\.localized|__MACOSX\/.*|Thumbs\.db|ehthumbs\.db|desktop\.ini)$/i;

/** Returns whether the system put this file into a folder: `path` is the file's path in the folder. */
export const isOfSystem = (path) => path.includes("/") && OF_SYSTEM.test(path);

async function walk(entry, dropped) {
  try {
    if (isOfSystem(entry.fullPath.slice(1))) return;
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      const path = entry.fullPath.slice(1);
      dropped.files.push({ file, path: path.includes("/") ? path : "" });
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (batch.length === 0) return;
      for (const child of batch) await walk(child, dropped);
    }
  } catch {
    dropped.unreadable += 1;
  }
}

/**
 * Returns a pasted file under a name that says what it is: browsers call each screenshot `image.png`.
 *
 * `names` are those already taken; the name is added to them.
 */
export function nameOfPasted(file, word, names, now = new Date()) {
  const extension = /^image(\.\w+)$/i.exec(file.name)?.[1];
  if (!extension || !file.type.startsWith("image/")) return file;
  const two = (number) => String(number).padStart(2, "0");
  const day = [now.getFullYear(), two(now.getMonth() + 1), two(now.getDate())].join("-");
  const time = [now.getHours(), now.getMinutes(), now.getSeconds()].map(two).join("-");
  const stem = `${word} ${day} ${time}`;
  let name = `${stem}${extension}`;
  for (let number = 2; names.has(name); number += 1) name = `${stem} (${number})${extension}`;
  names.add(name);
  return new File([file], name, { type: file.type, lastModified: file.lastModified });
}
