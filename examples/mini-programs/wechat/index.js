// A page of a WeChat mini program: oss-upload.js is beside it.
import { uploader } from "./oss-upload.js";

const upload = uploader(wx, "https://app.example.com/oss/signature", {
  // What your own server returned after wx.login().
  header: () => ({ Authorization: `Bearer ${wx.getStorageSync("session")}` }),
});

Page({
  data: { progress: 0, text: "" },

  choose() {
    wx.chooseMedia({
      count: 9,
      success: async ({ tempFiles }) => {
        for (const { tempFilePath, size } of tempFiles) await this.send({ path: tempFilePath, size });
      },
    });
  },

  async send(file) {
    try {
      const { name } = await upload(file, (progress) => this.setData({ progress }));
      this.setData({ text: `uploaded ${name}` });
    } catch (error) {
      this.setData({ text: error.message });
    }
  },
});
