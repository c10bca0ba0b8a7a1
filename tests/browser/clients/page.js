/** Shared by all pages: signed forms, a file input for clients without one, and the client's reports. */

export const { version, secret } = Object.fromEntries(new URLSearchParams(location.search));
export const main = document.querySelector("main");
export const endpoint = `/${version}/signature`;

/** Returns a signed form with `url` and `fields`: for one file, or as the official samples do without one. */
export async function sign(file) {
  const query = file ? new URLSearchParams({ filename: file.name, content_type: file.type }) : "";
  return (await fetch(`${endpoint}?${query}`)).json();
}

/** Returns the body of a form: the fields in their order, then the file. */
export function formData(fields, file) {
  const data = new FormData();
  for (const [name, value] of Object.entries(fields)) data.append(name, value);
  data.append("file", file);
  return data;
}

/** Adds a file input that calls `handle` with the chosen file. */
export function onFile(handle) {
  const input = Object.assign(document.createElement("input"), { type: "file" });
  input.onchange = () => handle(input.files[0], input);
  main.append(input);
}

/** Appends a line with the client's report. */
export function report(...words) {
  const line = words.map((word) => (typeof word === "string" ? word : JSON.stringify(word))).join(" ");
  document.querySelector("output").append(line, "\n");
}
