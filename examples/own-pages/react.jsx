import { useEffect, useState } from "react";
import { Uploader } from "/oss/upload.js";

export function Upload({ onStored }) {
  const [uploader] = useState(() => new Uploader());
  const [, show] = useState(0);
  useEffect(() => {
    const done = ({ detail: { item } }) => onStored(item.signedId, item.file);
    const change = () => show((count) => count + 1);
    uploader.addEventListener("done", done);
    for (const type of ["state", "progress"]) uploader.addEventListener(type, change);
    return () => {
      uploader.removeEventListener("done", done);
      for (const type of ["state", "progress"]) uploader.removeEventListener(type, change);
    };
  }, [uploader, onStored]);
  const choose = ({ target }) => { uploader.add(target.files); uploader.start(); };
  const rows = uploader.items.map(({ id, file, state, progress }) => <li key={id}>{file.name}: {state} {progress}</li>);
  return <><input type="file" multiple onChange={choose} /><ul>{rows}</ul></>;
}
