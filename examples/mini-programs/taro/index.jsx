// A page of a Taro project: oss-upload.js is beside it.
import { Button, Progress, Text, View } from "@tarojs/components";
import Taro from "@tarojs/taro";
import { useState } from "react";
import { uploader } from "./oss-upload.js";

const upload = uploader(Taro, "https://app.example.com/oss/signature", {
  header: () => ({ Authorization: `Bearer ${Taro.getStorageSync("session")}` }),
});

export default function Index() {
  const [percent, setPercent] = useState(0);
  const [text, setText] = useState("");

  async function choose() {
    const { tempFiles } = await Taro.chooseImage({});
    for (const { path, size, originalFileObj } of tempFiles) {
      try {
        // On H5 the path is a blob: URL, which has no name, so pass the one of the file.
        const answer = await upload({ path, size, name: originalFileObj?.name }, setPercent);
        setText(`uploaded ${answer.name}`);
      } catch (error) {
        setText(error.message);
      }
    }
  }

  return (
    <View>
      <Button onClick={choose}>Choose</Button>
      <Progress percent={percent} showInfo />
      <Text>{text}</Text>
    </View>
  );
}
