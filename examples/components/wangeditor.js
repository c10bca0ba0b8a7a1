import { upload } from "./oss.js";

/** For wangEditor: `createEditor({ config: { MENU_CONF: { uploadImage } }, ... })`. */
export const uploadImage = {
  customUpload: (file, insert) =>
    upload(file).then(({ url }) => insert(url, file.name, url), ({ message }) => alert(message)),
};
