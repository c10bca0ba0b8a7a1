"""What the tests of several rooms need: servers, ports, ways to wait and to skip."""
