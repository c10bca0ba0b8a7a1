/** What every page needs: signed forms, a file input for clients without one, and a place for the client's own words. */

export const { version, secret } = Object.fromEntries(new URLSearchParams(location.search));
export const main = document.querySelector("main");
export const endpoint = `/${version}/signature`;

/** Ask for a form for one file, which gives `url` and `fields`; without a file for one as the official samples do. */
export async function sign(file) {
  const query = file ? new URLSearchParams({ filename: file.name, content_type: file.type }) : "";
  return (await fetch(`${endpoint}?${query}`)).json();
}

/** Make the body of a form as OSS wants it: the fields in their order, then the file. */
export function formData(fields, file) {
  const data = new FormData();
  for (const [name, value] of Object.entries(fields)) data.append(name, value);
  data.append("file", file);
  return data;
}

/** Add a file input, and hand over what is chosen. */
export function onFile(handle) {
  const input = Object.assign(document.createElement("input"), { type: "file" });
  input.onchange = () => handle(input.files[0], input);
  main.append(input);
}

/** Show what the client says, each time that it says something. */
export function report(...words) {
  const line = words.map((word) => (typeof word === "string" ? word : JSON.stringify(word))).join(" ");
  document.querySelector("output").append(line, "\n");
}
