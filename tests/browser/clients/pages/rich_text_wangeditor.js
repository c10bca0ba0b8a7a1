// wangEditor with the upload that sends by our module.
import { createEditor } from "@wangeditor/editor";
import { uploadImage } from "../../../../examples/components/wangeditor.js";
import { main, onFile } from "../page.js";

main.style.height = "400px";
createEditor({ selector: main.appendChild(document.createElement("div")), config: { MENU_CONF: { uploadImage } } });
// What the browser does when a person drops a picture into the text.
onFile((file) => {
  const text = main.querySelector("[contenteditable]");
  const { left: clientX, top: clientY } = text.firstElementChild.getBoundingClientRect();
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(file);
  text.dispatchEvent(new DragEvent("drop", { dataTransfer, clientX, clientY, bubbles: true, cancelable: true }));
});
