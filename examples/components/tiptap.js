import { upload } from "./oss.js";

/** For Tiptap: `FileHandler.configure({ onPaste: insertImages, onDrop: insertImages, ... })`, beside its Image. */
export async function insertImages(editor, files) {
  for (const file of files) {
    const sent = upload(file).then(({ url }) => editor.chain().focus().setImage({ src: url, alt: file.name }).run());
    await sent.catch(({ message }) => alert(message));
  }
}
