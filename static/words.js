/** The texts of the page in English and Chinese, with a sentence for each way in which an upload can fail. */

const count = (n, one, many) => (n === 1 ? one : many.replace("#", n));

const english = {
  lang: "en",
  title: "Upload files",
  lead: "Files go from this browser straight to storage.",
  drop: "Drop files here",
  hint: "or paste them, or choose them from this device",
  touch: "Photos, videos, documents",
  choose: "Choose files",
  upload: "Upload",
  all: "All files",
  nothing: "No files chosen yet",
  nothingToSend: "Choose files first.",
  stop: "Stop all",
  again: "Try the rest again",
  clear: "Clear finished",
  cancel: "Cancel",
  remove: "Remove",
  retry: "Retry",
  sendAgain: "Send it again",
  answer: "The application answered",
  twin: "same name and size as another file here",
  separator: "\u00a0· ",
  sentences: " ",

  states: {
    queued: "Ready",
    waiting: "Waiting",
    signing: "Asking for permission",
    sending: "Sending",
    answering: "Sent, waiting for the answer",
    asking: "Sent, making sure that it arrived",
    stored: "Done",
    untold: "Stored, but the application was not told",
    unsure: "Sent, but without an answer",
    failed: "Failed",
    cancelled: "Cancelled",
  },

  ready: (n, size) => `${count(n, "1 file ready", "# files ready")} · ${size}`,
  moreReady: (n) => `${n} more ready`,
  doing: (done, n) => `${done} of ${count(n, "1 file", "# files")} done`,
  bytes: (sent, size) => `${sent} of ${size}`,
  speed: (size) => `${size}/s`,
  result: ({ stored, untold, unsure, failed, cancelled }) =>
    [
      stored && `${count(stored, "1 file", "# files")} done`,
      untold && count(untold, "1 file stored but not reported", "# files stored but not reported"),
      unsure && count(unsure, "1 file without an answer", "# files without an answer"),
      failed && `${failed} failed`,
      cancelled && `${cancelled} cancelled`,
    ].filter(Boolean).join(", "),
  left: (seconds) => {
    if (seconds < 60) return `${Math.max(1, Math.ceil(seconds))} s left`;
    const minutes = Math.round(seconds / 60);
    if (minutes < 60) return `${minutes} min left`;
    return `${Math.floor(minutes / 60)} h ${minutes % 60} min left`;
  },

  news: {
    added: (n) => count(n, "1 file added.", "# files added."),
    unreadable: (n) => count(n, "1 item could not be read.", "# items could not be read."),
    started: (n) => count(n, "Sending 1 file.", "Sending # files."),
    stored: (n, name) => count(n, `${name}: done.`, "# files done."),
    untold: (n, name) => count(n, `${name}: stored, but the application was not told.`, "# files stored, but the application was not told."),
    unsure: (n, name) => count(n, `${name}: sent, but without an answer.`, "# files sent, but without an answer."),
    failed: (n, name, why) => count(n, `${name}: failed. ${why}`, "# files failed."),
    cancelled: (n, name) => count(n, `${name}: cancelled.`, "# files cancelled."),
    idle: (result) => `All finished: ${result}.`,
  },

  untoldHint: "The file is in storage, so there is no need to send it again.",
  untoldAskHint: "The file is in storage, so there is no need to send it again; Retry tells the application.",
  unsureHint: "Everything was sent; Retry asks again whether it arrived, and does not send it twice.",
  notStoredHint: "The file did not arrive in storage.",
  cancelledLate: "Everything had been sent, so the file may be stored all the same.",
  completeHint: "Everything had been sent, so the file may be stored all the same; sending it again may store it twice.",

  errors: {
    unreadable: "This file can no longer be read. It may have been moved or changed: choose it again.",
    offline: "This device seems to be offline. Try again once it is connected.",
    serverUnreachable: "The server that gives permission could not be reached. Check the connection and try again.",
    serverUnexpected: "The server gave an answer that this page does not understand. You may have to sign in again.",
    blocked: (host) => `This page's Content-Security-Policy does not allow ${host}: add it to connect-src.`,
    storageUnreachable: "No answer from storage: either the connection failed, or storage does not allow uploads from this page (CORS).",
    unknown: "Something went wrong on this page.",
    server: {
      400: "The server could not accept this file's name, type or size.",
      401: "You have to sign in before you can send files.",
      403: "You may not send this file here. Log in again, or choose another file.",
      forbidden: "You may not send files here. Log in again?",
      size_not_allowed: "The server does not allow this file. Its size is not accepted.",
      content_type_not_allowed: "The server does not allow this file. Its type is not accepted.",
      404: "The server does not give permission at this address. The page may be set up wrongly.",
      405: "The server does not give permission at this address. The page may be set up wrongly.",
      413: "This file is larger than the server allows.",
      429: "Too many requests at the moment. Try again a little later.",
      503: "The server cannot give permission at the moment. Try again a little later.",
      4: "The server refused to give permission for this file.",
      5: "The server had a problem. Try again a little later.",
    },
    storage: {
      expired: "The permission ran out before the file arrived. Trying again asks for a new one.",
      condition: "Storage refused the file: it is not what permission was given for.",
      AccessDenied: "Storage refused the file: permission does not cover it.",
      AccessForbidden: "Storage does not allow uploads from this page (CORS).",
      EntityTooLarge: "This file is larger than allowed.",
      EntityTooSmall: "This file is smaller than allowed.",
      FileAlreadyExists: "A file with this name is already there, and it may not be replaced.",
      FileImmutable: "A file with this name is already there and is locked against changes.",
      InvalidAccessKeyId: "Storage does not know the server's access key. Whoever runs this site has to correct it.",
      SignatureDoesNotMatch: "The permission's signature was not accepted. Whoever runs this site has to check its access key.",
      InvalidSecurityToken: "The server's temporary key is not valid. Try again; if it stays so, tell whoever runs this site.",
      SecurityTokenExpired: "The server's temporary key ran out. Trying again asks for a new permission.",
      AccessKeyIdAndSecurityTokenNotMatch: "The server's key and its token do not belong together. Whoever runs this site has to correct it.",
      RequestTimeTooSkewed: "The clocks of the server and of storage differ too much. Whoever runs this site has to correct it.",
      NoSuchBucket: "The storage bucket does not exist. Whoever runs this site has to correct its name.",
      InvalidBucketName: "The storage bucket's name is not valid. Whoever runs this site has to correct it.",
      PublicEndpointForbidden: "This bucket takes no uploads at its public address. Whoever runs this site has to set its own domain.",
      InvalidObjectName: "Storage cannot use this file's name. Rename the file and choose it again.",
      InvalidPolicyDocument: "Storage could not read the permission. Whoever runs this site has to check it.",
      InvalidArgument: "Storage did not accept the form. Whoever runs this site has to check it.",
      InvalidDigest: "The file was damaged on the way. Try again.",
      MalformedPOSTRequest: "The upload arrived incomplete. Try again.",
      IncorrectNumberOfFilesInPOSTRequest: "The upload arrived incomplete. Try again.",
      RequestTimeout: "The connection was too slow, and storage stopped waiting. Try again.",
      SlowDown: "Storage is busy. Try again a little later.",
      ServiceUnavailable: "Storage is busy. Try again a little later.",
      InternalError: "Storage had a problem. Try again a little later.",
      4: "Storage refused the file.",
      5: "Storage had a problem. Try again a little later.",
    },
  },
};

const chinese = {
  lang: "zh-CN",
  title: "上传文件",
  lead: "文件由浏览器直接传到存储空间。",
  drop: "把文件拖到这里",
  hint: "也可以粘贴，或从本机选择",
  touch: "照片、视频、文档",
  choose: "选择文件",
  upload: "上传",
  all: "全部文件",
  nothing: "还没有选择文件",
  nothingToSend: "请先选择文件。",
  stop: "全部停止",
  again: "再试其余文件",
  clear: "清除已完成",
  cancel: "取消",
  remove: "移除",
  retry: "重试",
  sendAgain: "重新发送",
  answer: "应用的回复",
  twin: "与列表中另一文件同名且大小相同",
  separator: "\u00a0· ",
  sentences: "",

  states: {
    queued: "待上传",
    waiting: "排队中",
    signing: "正在申请许可",
    sending: "正在发送",
    answering: "已发送，等待答复",
    asking: "已发送，正在确认是否到达",
    stored: "已完成",
    untold: "已存储，但应用未收到通知",
    unsure: "已发送，但没有答复",
    failed: "失败",
    cancelled: "已取消",
  },

  ready: (n, size) => `${n} 个文件待上传 · ${size}`,
  moreReady: (n) => `另有 ${n} 个待上传`,
  doing: (done, n) => `已完成 ${done} / ${n} 个文件`,
  bytes: (sent, size) => `${sent} / ${size}`,
  speed: (size) => `${size}/秒`,
  result: ({ stored, untold, unsure, failed, cancelled }) =>
    [
      stored && `${stored} 个文件已完成`,
      untold && `${untold} 个已存储但未通知应用`,
      unsure && `${unsure} 个没有答复`,
      failed && `${failed} 个失败`,
      cancelled && `${cancelled} 个已取消`,
    ].filter(Boolean).join("，"),
  left: (seconds) => {
    if (seconds < 60) return `剩余 ${Math.max(1, Math.ceil(seconds))} 秒`;
    const minutes = Math.round(seconds / 60);
    if (minutes < 60) return `剩余 ${minutes} 分钟`;
    return `剩余 ${Math.floor(minutes / 60)} 小时 ${minutes % 60} 分钟`;
  },

  news: {
    added: (n) => `已添加 ${n} 个文件。`,
    unreadable: (n) => `有 ${n} 项无法读取。`,
    started: (n) => `开始发送 ${n} 个文件。`,
    stored: (n, name) => (n === 1 ? `${name}：已完成。` : `${n} 个文件已完成。`),
    untold: (n, name) => (n === 1 ? `${name}：已存储，但应用未收到通知。` : `${n} 个文件已存储，但应用未收到通知。`),
    unsure: (n, name) => (n === 1 ? `${name}：已发送，但没有答复。` : `${n} 个文件已发送，但没有答复。`),
    failed: (n, name, why) => (n === 1 ? `${name}：失败。${why}` : `${n} 个文件失败。`),
    cancelled: (n, name) => (n === 1 ? `${name}：已取消。` : `${n} 个文件已取消。`),
    idle: (result) => `全部结束：${result}。`,
  },

  untoldHint: "文件已在存储空间中，无需再次发送。",
  untoldAskHint: "文件已在存储空间中，无需再次发送；点“重试”可通知应用。",
  unsureHint: "内容已全部发出，但尚无法确认是否到达；点“重试”会再次询问，不会重复发送。",
  notStoredHint: "文件没有到达存储空间。",
  cancelledLate: "内容已全部发出，文件可能仍会被存储。",
  completeHint: "内容已全部发出，文件可能已被存储；再次发送可能会存储两份。",

  errors: {
    unreadable: "无法再读取此文件，它可能已被移动或修改。请重新选择。",
    offline: "设备似乎已离线。请联网后重试。",
    serverUnreachable: "无法连接发放许可的服务器。请检查网络后重试。",
    serverUnexpected: "服务器的答复无法识别。您可能需要重新登录。",
    blocked: (host) => `此页面的内容安全策略（CSP）不允许 ${host}：请把它加入 connect-src。`,
    storageUnreachable: "存储服务没有答复：可能是网络中断，也可能是存储服务不允许从此页面上传（跨域规则 CORS）。",
    unknown: "此页面出现了问题。",
    server: {
      400: "服务器无法接受此文件的名称、类型或大小。",
      401: "请先登录，然后再发送文件。",
      403: "您不能在此发送这个文件。请重新登录，或选择其他文件。",
      forbidden: "您没有在此发送文件的权限。要重新登录吗？",
      size_not_allowed: "服务器不允许此文件：不接受它的大小。",
      content_type_not_allowed: "服务器不允许此文件：不接受它的类型。",
      404: "此地址不发放上传许可，页面的设置可能有误。",
      405: "此地址不发放上传许可，页面的设置可能有误。",
      413: "文件超过了服务器允许的大小。",
      429: "目前请求过多，请稍后再试。",
      503: "服务器暂时无法发放许可，请稍后再试。",
      4: "服务器拒绝为此文件发放许可。",
      5: "服务器出现问题，请稍后再试。",
    },
    storage: {
      expired: "文件到达之前许可已过期。重试会申请新的许可。",
      condition: "存储服务拒绝了此文件：它与许可的内容不符。",
      AccessDenied: "存储服务拒绝了此文件：许可不包含它。",
      AccessForbidden: "存储服务不允许从此页面上传（跨域规则 CORS）。",
      EntityTooLarge: "文件超过了允许的大小。",
      EntityTooSmall: "文件小于允许的大小。",
      FileAlreadyExists: "已有同名文件，且不允许覆盖。",
      FileImmutable: "已有同名文件，且已锁定，不能修改。",
      InvalidAccessKeyId: "存储服务不认识服务器的访问密钥，需要网站管理者更正。",
      SignatureDoesNotMatch: "许可的签名未被接受，需要网站管理者检查访问密钥。",
      InvalidSecurityToken: "服务器的临时密钥无效。请重试；若仍然如此，请告知网站管理者。",
      SecurityTokenExpired: "服务器的临时密钥已过期。重试会申请新的许可。",
      AccessKeyIdAndSecurityTokenNotMatch: "服务器的密钥与令牌不匹配，需要网站管理者更正。",
      RequestTimeTooSkewed: "服务器与存储服务的时钟相差过大，需要网站管理者更正。",
      NoSuchBucket: "存储空间不存在，需要网站管理者更正其名称。",
      InvalidBucketName: "存储空间的名称无效，需要网站管理者更正。",
      PublicEndpointForbidden: "此存储空间的公共地址不接受上传，需要网站管理者设置自有域名。",
      InvalidObjectName: "存储服务无法使用此文件名。请改名后重新选择。",
      InvalidPolicyDocument: "存储服务无法读懂许可，需要网站管理者检查。",
      InvalidArgument: "存储服务不接受此表单，需要网站管理者检查。",
      InvalidDigest: "文件在传输中损坏，请重试。",
      MalformedPOSTRequest: "上传的内容不完整，请重试。",
      IncorrectNumberOfFilesInPOSTRequest: "上传的内容不完整，请重试。",
      RequestTimeout: "连接过慢，存储服务已停止等待。请重试。",
      SlowDown: "存储服务繁忙，请稍后再试。",
      ServiceUnavailable: "存储服务繁忙，请稍后再试。",
      InternalError: "存储服务出现问题，请稍后再试。",
      4: "存储服务拒绝了此文件。",
      5: "存储服务出现问题，请稍后再试。",
    },
  },
};

/** Returns the texts for a language tag such as `navigator.language`. */
export function wordsFor(language) {
  return /^zh\b/i.test(language) ? chinese : english;
}

/** Returns one sentence that says what happened and what to do. */
export function explain(error, words) {
  const { errors } = words;
  if (error.kind === "unreadable") return errors.unreadable;
  if (error.kind === "blocked") return errors.blocked(error.reason);
  if (error.kind === "unreachable") {
    if (navigator.onLine === false) return errors.offline;
    return error.stage === "server" ? errors.serverUnreachable : errors.storageUnreachable;
  }
  if (error.kind === "refused") {
    const texts = errors[error.stage];
    const family = texts[Math.floor(error.status / 100)];
    const word = error.stage === "server" ? serverWord(error, texts) : storageWord(error);
    return (Object.hasOwn(texts, word) && texts[word]) || family || texts[4];
  }
  return error.stage === "server" ? errors.serverUnexpected : errors.unknown;
}

/** 403 is about the person or about the file, which the code tells if the answer is the application's own. */
function serverWord({ status, code }, texts) {
  return status === 403 && Object.hasOwn(texts, code) ? code : status;
}

/** AccessDenied has several causes. EC distinguishes them; the older service sends only the message. */
function storageWord({ code, ec, reason }) {
  if (code !== "AccessDenied") return code;
  if (ec === "0006-00000213" || /policy expired/i.test(reason)) return "expired";
  if (/^0006-000002(26|27|28)$/.test(ec) || /^invalid according to policy/i.test(reason)) return "condition";
  return code;
}

/** Returns one line for the people who run the site: status, code and the text of the server or OSS. */
export function technical(error) {
  const name = [error.code, error.status > 0 && `(${error.status})`].filter(Boolean).join(" ");
  return [name, error.reason, error.requestId].filter(Boolean).join(" · ");
}
