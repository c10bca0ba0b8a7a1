import { upload } from "./oss.js";

/** For CKEditor 5: `extraPlugins: [uploadAdapter]`, beside its own plugins FileRepository, Image and ImageUpload. */
export function uploadAdapter(editor) {
  editor.plugins.get("FileRepository").createUploadAdapter = (loader) => {
    const controller = new AbortController();
    const onProgress = (fraction) => Object.assign(loader, { uploadTotal: 100, uploaded: 100 * fraction });
    return {
      upload: () =>
        loader.file
          .then((file) => upload(file, { onProgress, signal: controller.signal }))
          .then(({ url }) => ({ default: url }), ({ message }) => Promise.reject(message)),
      abort: () => controller.abort(),
    };
  };
}
