import { ref } from "vue";
import { Uploader } from "/oss/upload.js";

export const Upload = {
  emits: ["stored"],
  setup(_, { emit }) {
    const uploader = new Uploader();
    const rows = ref([]);
    const row = ({ id, file, state, progress }) => ({ id, name: file.name, state, progress });
    const show = () => { rows.value = uploader.items.map(row); };
    for (const type of ["add", "state", "progress"]) uploader.addEventListener(type, show);
    uploader.addEventListener("done", ({ detail: { item } }) => emit("stored", item.signedId, item.file));
    const choose = ({ target }) => { uploader.add(target.files); uploader.start(); };
    return { rows, choose };
  },
  template: `
    <input type="file" multiple @change="choose">
    <ul><li v-for="row in rows" :key="row.id">{{ row.name }}: {{ row.state }} {{ row.progress }}</li></ul>`,
};
