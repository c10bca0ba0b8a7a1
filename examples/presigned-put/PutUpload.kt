// Upload a file by a signed PUT with OkHttp 4 or 5; call it from a Worker of WorkManager to go on in the background.
import java.io.File
import java.io.IOException
import okhttp3.HttpUrl.Companion.toHttpUrl
import okhttp3.MediaType.Companion.toMediaType
import okhttp3.OkHttpClient
import okhttp3.Request
import okhttp3.RequestBody.Companion.asRequestBody
import okhttp3.RequestBody.Companion.toRequestBody
import org.json.JSONObject

fun put(client: OkHttpClient, file: File, type: String, endpoint: String): JSONObject {
    val address = endpoint.toHttpUrl().newBuilder()
        .addQueryParameter("method", "put")
        .addQueryParameter("filename", file.name)
        .addQueryParameter("size", file.length().toString())
        .addQueryParameter("content_type", type)
        .build()
    val signed = client.newCall(Request.Builder().url(address).build()).execute().use { answer ->
        val text = answer.body!!.string()
        if (!answer.isSuccessful) throw IOException(text)
        JSONObject(text)
    }
    val headers = signed.getJSONObject("headers")
    // The body's type replaces the header Content-Type, so both must be the signed one. OkHttp sets Content-Length.
    val body = file.asRequestBody(headers.getString("Content-Type").toMediaType())
    val request = Request.Builder().url(signed.getString("url")).put(body)
    for (name in headers.keys()) request.header(name, headers.getString(name))
    client.newCall(request.build()).execute().use { answer ->
        val text = answer.body!!.string()
        if (answer.code != 200) throw IOException(text) // 203: stored, but the callback failed
        if (!signed.has("ticket")) return JSONObject(text)
    }
    // OSS_REPORT_BY=page: OSS reports nothing, so the app does.
    val proof = JSONObject().put("ticket", signed.getString("ticket")).put("object", signed.getString("key"))
    val recover = endpoint.toHttpUrl().resolve("recover")!!
    val report = Request.Builder().url(recover).post(proof.toString().toRequestBody("application/json".toMediaType()))
    client.newCall(report.build()).execute().use { answer ->
        val text = answer.body!!.string()
        if (!answer.isSuccessful) throw IOException("stored, but not reported: $text")
        return JSONObject(text)
    }
}
