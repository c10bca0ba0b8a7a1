import { upload } from "./oss.js";

/** For TinyMCE: `tinymce.init({ images_upload_handler: uploadImage, ... })`. */
export async function uploadImage(blobInfo, progress) {
  const file = new File([blobInfo.blob()], blobInfo.filename(), { type: blobInfo.blob().type });
  const sent = upload(file, { onProgress: (fraction) => progress(100 * fraction) });
  const { url } = await sent.catch(({ message }) => Promise.reject({ message, remove: true }));
  return url;
}
