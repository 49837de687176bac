"""A server's round with openstacksdk. Argument: the guest image."""

import openstack, sys, base64
cloud = openstack.connect(cloud="dwarfnova")
image = cloud.create_image("guest", filename=sys.argv[1], disk_format="qcow2", container_format="bare", wait=True)
assert cloud.get_image("guest").status == "active"
key = cloud.create_keypair("laptop")
server = cloud.create_server("first", image="guest", flavor="m1.nano", key_name="laptop", config_drive=True,
    userdata="#!/bin/sh\necho SDK-MARK $(hostname)\n", meta={"role": "test"}, wait=True, timeout=180)
assert server.status == "ACTIVE", server
assert server.metadata == {"role": "test"}, server.metadata
assert server.addresses, server
assert cloud.get_server("first").id == server.id
assert [s.name for s in cloud.compute.servers()] == ["first"]
print("address", server.private_v4 or server.access_ipv4 or list(server.addresses.values())[0][0]["addr"])
import time
for _ in range(180):
    if "SDK-MARK first" in cloud.get_server_console("first"):
        break
    time.sleep(1)
else:
    raise SystemExit("the user data did not run:\n" + cloud.get_server_console("first"))
cloud.compute.stop_server(server)
cloud.compute.wait_for_server(server, status="SHUTOFF", wait=120)
cloud.compute.start_server(server)
cloud.compute.wait_for_server(server, status="ACTIVE", wait=60)
assert cloud.delete_server("first", wait=True)
assert cloud.delete_image("guest", wait=True)
assert cloud.delete_keypair("laptop")
assert not list(cloud.compute.servers())
