import OSS from "ali-oss";

export async function uploadWithSTS(file, { onProgress = () => {} } = {}) {
  const ask = async (body) => (await fetch("/sts", { method: "POST", body: JSON.stringify(body) })).json();
  const { key, region, bucket, ...credentials } = await ask({ filename: file.name });
  const client = new OSS({
    region,
    bucket,
    ...credentials, // accessKeyId, accessKeySecret, stsToken
    authorizationV4: true,
    refreshSTSToken: () => ask({ key }),
    refreshSTSTokenInterval: 600_000, // the keys live 15 minutes
  });
  await client.multipartUpload(key, file, { parallel: 3, partSize: 2 ** 24, progress: onProgress });
  return (await fetch("/films", { method: "POST", body: JSON.stringify({ key }) })).json();
}
