// jQuery with FormData.
import $ from "jquery";
import { formData, onFile, report, sign } from "../page.js";

onFile(async (file) => {
  const { url, fields } = await sign(file);
  $.ajax({ url, method: "POST", data: formData(fields, file), processData: false, contentType: false })
    .done((data, textStatus, { status, responseText }) => report(textStatus, status, responseText))
    .fail(({ status, responseText }, textStatus) => report(textStatus, status, responseText));
});
