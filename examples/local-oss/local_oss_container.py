"""OSS for a test, in a container: `with LocalOSSContainer() as oss:`, and then `oss.url` is the endpoint."""

from __future__ import annotations

from typing import Any

from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import HttpWaitStrategy

PORT = 8081


class LocalOSSContainer(DockerContainer):
    """A local OSS with one bucket on a free port, thrown away at the end.

    :param options: further options of local-oss, such as "--test-mode" or "--cors=http://localhost:3000".
    """

    bucket, region, access_key_id, access_key_secret = "my-bucket", "cn-hangzhou", "ID", "SECRET"

    def __init__(self, *options: str, image: str = "local-oss", **kwargs: Any) -> None:
        super().__init__(image, read_only=True, **kwargs)
        self.with_tmpfs_mount("/tmp", "size=512m")  # noqa: S108 - in the container
        keys = f"--access-key-id={self.access_key_id}", f"--access-key-secret={self.access_key_secret}"
        self.with_command([f"--bucket={self.bucket}", f"--region={self.region}", *keys, *options])
        self.with_exposed_ports(PORT)
        self.waiting_for(HttpWaitStrategy(PORT, "/callback_pub_key.pem"))

    @property
    def url(self) -> str:
        return f"http://{self.get_container_host_ip()}:{self.get_exposed_port(PORT)}"
