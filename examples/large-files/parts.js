/** Uploads a file in parts, and resolves to what the application answered; on an error nothing stays in the bucket. */
export async function uploadInParts(file, { uploads = "/oss/s3/multipart", onProgress = () => {}, signal } = {}) {
  const ask = async (url, options) => {
    const response = await fetch(url, { ...options, signal });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.message);
    return answer;
  };
  const post = (url, body) =>
    ask(url, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

  const { name: filename, type, size } = file;
  const { key, uploadId, part_size, parts } = await post(uploads, { filename, type, size, part_size: 2 ** 24 });
  const at = (step) => `${uploads}/${uploadId}${step}?${new URLSearchParams({ key })}`;
  try {
    const sent = [];
    for (let number = 1; number <= parts; number++) {
      const { url } = await ask(at(`/${number}`));
      const body = file.slice((number - 1) * part_size, number * part_size);
      const response = await fetch(url, { method: "PUT", body, signal });
      if (!response.ok) throw new Error(`OSS did not take part ${number}: ${response.status}`);
      sent.push({ PartNumber: number, ETag: response.headers.get("ETag") });
      onProgress(number / parts);
    }
    return (await post(at("/complete"), { parts: sent })).answer;
  } catch (error) {
    await fetch(at(""), { method: "DELETE" });
    throw error;
  }
}
