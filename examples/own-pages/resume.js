import { Uploader } from "/oss/upload.js";

const uploader = new Uploader();
uploader.addEventListener("resumable", ({ detail: { item } }) => {
  const { sent, size, isChanged } = item.resumable;
  if (!isChanged && confirm(`${Math.floor((100 * sent) / size)} % are stored. Continue?`)) uploader.resume(item);
});

document.querySelector("input").addEventListener("change", ({ target }) => {
  uploader.add(target.files);
  uploader.start();
});
