// Tiptap with the upload that sends by our module.
import { Editor } from "@tiptap/core";
import { FileHandler } from "@tiptap/extension-file-handler";
import { Image } from "@tiptap/extension-image";
import { StarterKit } from "@tiptap/starter-kit";
import { insertImages } from "../../../../examples/components/tiptap.js";
import { main, onFile } from "../page.js";

const handler = FileHandler.configure({ onPaste: insertImages, onDrop: insertImages });
const { view } = new Editor({ element: main, extensions: [StarterKit, Image, handler] });
// What the browser does when a person pastes a picture.
onFile((file) => {
  const clipboardData = new DataTransfer();
  clipboardData.items.add(file);
  view.dom.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
});
