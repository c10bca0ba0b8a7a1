// Upload a file by a signed PUT; it goes on while the app is suspended (iOS 13 and later, macOS).
import Foundation

struct SignedPut: Decodable {
    let method: String
    let url: URL
    let headers: [String: String]
    let expire: Int
    let key: String
    let ticket: String?
}

final class BackgroundUpload: NSObject, URLSessionDataDelegate {
    private lazy var session = URLSession(
        configuration: .background(withIdentifier: "com.example.uploads"), delegate: self, delegateQueue: nil)
    private var answers: [Int: Data] = [:]

    /// Ask your server for the signature. Do this in the foreground: `expire` is when the upload must have begun.
    func sign(_ file: URL, type: String, endpoint: URL) async throws -> SignedPut {
        let size = try file.resourceValues(forKeys: [.fileSizeKey]).fileSize ?? 0
        var address = URLComponents(url: endpoint, resolvingAgainstBaseURL: false)!
        address.queryItems = [
            URLQueryItem(name: "method", value: "put"),
            URLQueryItem(name: "filename", value: file.lastPathComponent),
            URLQueryItem(name: "size", value: String(size)),
            URLQueryItem(name: "content_type", value: type),
        ]
        // URLComponents leaves "+" as it is, which a server reads as a space.
        address.percentEncodedQuery = address.percentEncodedQuery?.replacingOccurrences(of: "+", with: "%2B")
        let (data, _) = try await URLSession.shared.data(from: address.url!)
        return try JSONDecoder().decode(SignedPut.self, from: data)
    }

    /// A background session uploads from a file only. It sets Content-Length by itself.
    func put(_ file: URL, _ signed: SignedPut) {
        var request = URLRequest(url: signed.url)
        request.httpMethod = signed.method
        for (name, value) in signed.headers {
            request.setValue(value, forHTTPHeaderField: name)
        }
        session.uploadTask(with: request, fromFile: file).resume()
    }

    func urlSession(_ session: URLSession, dataTask: URLSessionDataTask, didReceive data: Data) {
        answers[dataTask.taskIdentifier, default: Data()].append(data)
    }

    func urlSession(_ session: URLSession, task: URLSessionTask, didCompleteWithError error: Error?) {
        let status = (task.response as? HTTPURLResponse)?.statusCode ?? 0
        let answer = answers.removeValue(forKey: task.taskIdentifier) ?? Data()
        // 200: what on_upload returned. 203: stored, but the callback failed: POST {prefix}/recover.
        // With OSS_REPORT_BY=page the signature has a ticket: then POST it with the key to {prefix}/recover after 200 too.
        print(status, String(decoding: answer, as: UTF8.self), error as Any)
    }
}
