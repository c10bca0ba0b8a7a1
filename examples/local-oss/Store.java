// Stores an object in the local OSS and reads it back, with com.aliyun.oss:aliyun-sdk-oss 3.18.
import com.aliyun.oss.ClientBuilderConfiguration;
import com.aliyun.oss.OSS;
import com.aliyun.oss.OSSClientBuilder;
import com.aliyun.oss.common.auth.DefaultCredentialProvider;
import com.aliyun.oss.common.comm.SignVersion;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;

public class Store {
    static String store(String endpoint) throws IOException {
        ClientBuilderConfiguration configuration = new ClientBuilderConfiguration();
        configuration.setSignatureVersion(SignVersion.V4);
        // The bucket in the path. For an IP address the SDK does so by itself.
        configuration.setSLDEnabled(true);
        OSS oss = OSSClientBuilder.create()
            .endpoint(endpoint)
            .region("cn-hangzhou")
            .credentialsProvider(new DefaultCredentialProvider("ID", "SECRET"))
            .clientConfiguration(configuration)
            .build();
        try {
            byte[] text = "hello from Java".getBytes(StandardCharsets.UTF_8);
            oss.putObject("my-bucket", "java.txt", new ByteArrayInputStream(text));
            try (InputStream body = oss.getObject("my-bucket", "java.txt").getObjectContent()) {
                return new String(body.readAllBytes(), StandardCharsets.UTF_8);
            }
        } finally {
            oss.shutdown();
        }
    }

    public static void main(String[] arguments) throws IOException {
        System.out.println(store(arguments[0]));
    }
}
