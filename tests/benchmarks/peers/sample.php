<?php
// The least that a sample does in PHP: a V4 form for a new name, and a callback verified with a kept key.

const KEY = "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAK6OjU5GSzz6/IoO/aqrVYyKD2ZmtD2R\nud9KNyN/3hRDVeYfhxwhVGyOVI3fmacey/pvOcs4LXGOdKzht4rT2jMCAwEAAQ==\n-----END PUBLIC KEY-----\n";

function signature(): array
{
    $now = time();
    $day = gmdate('Ymd', $now);
    $date = gmdate('Ymd\THis\Z', $now);
    $key = 'user-dir-prefix/' . $day . '/' . bin2hex(random_bytes(16)) . '.png';
    $credential = "id/$day/cn-hangzhou/oss/aliyun_v4_request";
    $callback = base64_encode(json_encode([
        'callbackUrl' => 'https://app.example.com/oss/callback',
        'callbackBody' => 'filename=${object}&size=${size}&mimeType=${mimeType}&height=${imageInfo.height}&width=${imageInfo.width}',
        'callbackBodyType' => 'application/x-www-form-urlencoded',
    ]));
    $policy = base64_encode(json_encode([
        'expiration' => gmdate('Y-m-d\TH:i:s.000\Z', $now + 300),
        'conditions' => [
            ['bucket' => 'examplebucket'],
            ['eq', '$key', $key],
            ['callback' => $callback],
            ['x-oss-signature-version' => 'OSS4-HMAC-SHA256'],
            ['x-oss-credential' => $credential],
            ['x-oss-date' => $date],
            ['content-length-range', 0, 1048576000],
        ],
    ]));
    $secret = 'aliyun_v4secret';
    foreach ([$day, 'cn-hangzhou', 'oss', 'aliyun_v4_request'] as $step) {
        $secret = hash_hmac('sha256', $step, $secret, true);
    }
    return [
        'host' => 'https://examplebucket.oss-cn-hangzhou.aliyuncs.com', 'dir' => 'user-dir-prefix/', 'key' => $key,
        'policy' => $policy, 'x_oss_signature_version' => 'OSS4-HMAC-SHA256', 'x_oss_credential' => $credential,
        'x_oss_date' => $date, 'signature' => hash_hmac('sha256', $policy, $secret), 'callback' => $callback,
        'security_token' => '', 'expire' => $now + 300,
    ];
}

function callback(): array
{
    $signed = urldecode($_SERVER['REQUEST_URI']) . "\n" . file_get_contents('php://input');
    $signature = base64_decode($_SERVER['HTTP_AUTHORIZATION'] ?? '');
    if (openssl_verify($signed, $signature, KEY, OPENSSL_ALGO_MD5) !== 1) {
        http_response_code(403);
        return ['Status' => 'no'];
    }
    return ['Status' => 'Ok'];
}

$body = json_encode($_SERVER['REQUEST_METHOD'] === 'POST' ? callback() : signature(), JSON_UNESCAPED_SLASHES);
header('Content-Type: application/json');
header('Content-Length: ' . strlen($body));
echo $body;
