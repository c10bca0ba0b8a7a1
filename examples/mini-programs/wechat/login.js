/** Logs in, and keeps the token that your own server returned for the code of `wx.login`. */
export const login = () => new Promise((resolve, reject) => {
  const fail = ({ errMsg }) => reject(new Error(errMsg));
  const keep = ({ statusCode, data }) => {
    if (statusCode !== 200) return reject(new Error(`the login failed: ${statusCode}`));
    wx.setStorageSync("session", data.token);
    resolve();
  };
  const ask = ({ code }) => {
    wx.request({ url: "https://app.example.com/login", method: "POST", data: { code }, success: keep, fail });
  };
  wx.login({ success: ask, fail });
});
