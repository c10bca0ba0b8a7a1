# Run the steps of the configuration on the command line with aliyun-sdk, and print the result of each as JSON.
require 'json'
require 'net/http'
require 'tmpdir'
require 'aliyun/oss'
require 'aliyun/sts'

configuration = JSON.parse(ARGV[0])
options = configuration['client'].transform_keys(&:to_sym)
key, url = configuration['key'], configuration['callback']
client = Aliyun::OSS::Client.new(**options)
bucket = client.get_bucket(configuration['bucket'])
content = 'hello 中'
big = 'x' * (250 * 1024)
sts = Aliyun::STS::Client.new(**options.slice(:endpoint, :access_key_id, :access_key_secret))

read = lambda do |name, **more|
  text = +''
  bucket.get_object(name, more) { |chunk| text << chunk }
  text.force_encoding('UTF-8')
end
file = lambda do |text, &use|
  Dir.mktmpdir do |folder|
    path = File.join(folder, 'file')
    File.binwrite(path, text)
    use.call(path)
  end
end
callback = Aliyun::OSS::Callback.new(url: url, query: { user: 'a b' }, body: 'object=${object}&size=${size}')
limited = lambda do
  policy = Aliyun::STS::Policy.new
  policy.allow(['oss:PutObject'], ['acs:oss:*:*:*/user/*'])
  token = sts.assume_role('acs:ram::1:role/uploader', 'ruby', policy, 900)
  keys = { access_key_id: token.access_key_id, access_key_secret: token.access_key_secret }
  Aliyun::OSS::Client.new(**options, **keys, sts_token: token.security_token).get_bucket(bucket.name)
end

all = {
  # buckets
  'list' => -> { client.list_buckets.map(&:name) },
  'make' => -> { client.create_bucket('made-by-ruby') && client.bucket_exists?('made-by-ruby') },
  'acl' => lambda {
    made = client.get_bucket('made-by-ruby')
    made.acl = 'public-read'
    made.acl
  },
  'cors' => lambda {
    made = client.get_bucket('made-by-ruby')
    rule = { allowed_origins: ['https://shop.example'], allowed_methods: %w[GET PUT], allowed_headers: ['*'], expose_headers: [] }
    made.cors = [Aliyun::OSS::CORSRule.new(**rule)]
    rules = made.cors.map(&:allowed_methods)
    made.cors = []
    [rules, made.cors]
  },
  'lifecycle' => lambda {
    made = client.get_bucket('made-by-ruby')
    made.lifecycle = [Aliyun::OSS::LifeCycleRule.new(id: 'r', enable: true, prefix: 'tmp/', expiry: 7)]
    made.lifecycle.map { |rule| [rule.id, rule.prefix, rule.expiry] }
  },
  'drop' => lambda {
    client.delete_bucket('made-by-ruby')
    client.bucket_exists?('made-by-ruby')
  },
  # objects
  'put' => lambda {
    bucket.put_object(key, content_type: 'text/plain', metas: { 'who' => 'ruby' }) { |stream| stream << content }
    bucket.object_exists?(key)
  },
  'putFile' => -> { file.call(big) { |path| bucket.put_object('file', file: path) && read.call('file') == big } },
  'get' => -> { [read.call(key), read.call(key, range: [0, 5])] },
  'head' => lambda {
    head = bucket.get_object(key)
    [head.size, head.headers[:content_type], head.metas]
  },
  'missing' => -> { read.call('missing') },
  'objects' => -> { bucket.list_objects(prefix: key[0, 1]).map(&:key) },
  'folders' => lambda {
    bucket.list_objects(delimiter: '/', limit: 1).map { |entry| entry.is_a?(String) ? entry : entry.key }
  },
  'objectAcl' => lambda {
    bucket.set_object_acl(key, 'public-read')
    bucket.get_object_acl(key)
  },
  'copy' => lambda {
    bucket.put_object('源 blank', metas: { 'who' => 'ruby' }) { |stream| stream << content }
    bucket.copy_object('源 blank', 'a copy')
    [read.call('a copy'), bucket.get_object('a copy').metas]
  },
  'copyOfPlus' => -> { bucket.copy_object(key, 'a copy') }, # the SDK does not encode it
  'metas' => lambda {
    bucket.update_object_metas('a copy', { 'new' => 'meta' })
    bucket.get_object('a copy').metas
  },
  'multipart' => lambda {
    file.call(big) { |path| bucket.resumable_upload('big', path, part_size: 100 * 1024, threads: 2) }
    read.call('big') == big
  },
  'multipartDownload' => lambda {
    file.call('') do |path|
      bucket.resumable_download('big', path, part_size: 100 * 1024, threads: 2)
      File.binread(path) == big
    end
  },
  'uploads' => lambda {
    protocol = Aliyun::OSS::Protocol.new(Aliyun::OSS::Config.new(**options))
    id = protocol.initiate_multipart_upload(bucket.name, 'begun', {})
    protocol.upload_part_by_copy(bucket.name, 'begun', id, 1, 'big')
    sizes = protocol.list_parts(bucket.name, 'begun', id).first.map(&:size)
    begun = bucket.list_uploads.map(&:object)
    bucket.abort_upload(id, 'begun')
    [sizes, begun, bucket.list_uploads.to_a]
  },
  'putCallback' => -> { bucket.put_object('called', callback: callback) { |stream| stream << content } },
  'multipartCallback' => lambda {
    file.call(big) { |path| bucket.resumable_upload('called', path, part_size: 100 * 1024, callback: callback) }
  },
  'append' => -> { bucket.append_object('appended', 0) { |stream| stream << content } },
  'signedUrl' => lambda {
    response = Net::HTTP.get_response(URI(bucket.object_url(key)))
    [response.code, response.body.force_encoding('UTF-8')]
  },
  'plainUrl' => -> { Net::HTTP.get_response(URI(bucket.object_url(key, false))).code },
  'remove' => -> { bucket.delete_object(key) && bucket.object_exists?(key) },
  'removeMulti' => -> { bucket.batch_delete_objects(['a copy', "control\x01", '中']) },
  # temporary keys
  'limited' => lambda {
    limited.call.put_object('user/a') { |stream| stream << content }
    read.call('user/a')
  },
  'refused' => -> { limited.call.put_object('other') { |stream| stream << content } },
}

results = configuration['steps'].to_h do |step|
  [step, all.fetch(step).call]
rescue Aliyun::OSS::ServerError => error
  [step, [error.http_code, error.error_code]]
end
puts results.to_json
