import pytest

from jobqueue_worker.handlers.address_policy import AddressPolicy, AddressRefused

pytestmark = pytest.mark.unit

REFUSED = {
    "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified",
    "10.0.0.1": "private",
    "10.255.255.255": "private",
    "100.64.0.1": "CGNAT",
    "100.127.255.255": "CGNAT",
    "100.100.100.200": "metadata",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "168.63.129.16": "metadata",
    "169.254.169.254": "metadata",
    "169.254.170.2": "metadata",
    "169.254.1.1": "link-local",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.0.0.8": "protocols",
    "192.0.2.1": "documentation",
    "192.88.99.1": "6to4",
    "192.168.1.1": "private",
    "198.18.0.1": "benchmarks",
    "198.19.255.255": "benchmarks",
    "198.51.100.7": "documentation",
    "203.0.113.7": "documentation",
    "224.0.0.1": "multicast",
    "239.255.255.255": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    "::": "unspecified",
    "::1": "loopback",
    "::7f00:1": "IPv4",
    "::ffff:127.0.0.1": "IPv4",
    "::ffff:8.8.8.8": "IPv4",
    "::ffff:0:8.8.8.8": "not a public",
    "64:ff9b::7f00:1": "NAT64",
    "64:ff9b::808:808": "NAT64",
    "64:ff9b:1::1": "NAT64",
    "100::1": "not a public",
    "2001::1": "Teredo",
    "2001:10::1": "protocols",
    "2001:db8::1": "documentation",
    "2002:7f00:1::": "6to4",
    "3fff::1": "documentation",
    "4000::1": "not a public",
    "5f00::1": "not a public",
    "fc00::1": "private",
    "fd00:ec2::254": "metadata",
    "fd20:ce::254": "metadata",
    "fdff::1": "private",
    "fe80::1": "link-local",
    "fe80::1%1": "link-local",
    "fec0::1": "site-local",
    "ff02::1": "multicast",
}
PUBLIC = [
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.1",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.167.255.255",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001::200e",
    "2001:4860:4860::8888",
]


@pytest.mark.parametrize(("address", "why"), REFUSED.items())
def test_addresses_that_are_not_public_are_refused(address, why):
    with pytest.raises(AddressRefused, match=why):
        AddressPolicy().check(address, 443)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_pass(address):
    AddressPolicy().check(address, 443)


@pytest.mark.parametrize(
    "spelled", ["127.1", "0x7f.1", "2130706433", "017700000001", "localhost", "", "1.1.1.1 "]
)
def test_what_is_not_an_address_in_the_usual_form_is_refused(spelled):
    with pytest.raises(AddressRefused, match="usual form"):
        AddressPolicy().check(spelled, 80)


@pytest.mark.parametrize(
    ("rule", "address", "port"),
    [
        ("10.1.0.0/16", "10.1.2.3", 80),
        ("10.1.2.3", "10.1.2.3", 9),
        ("127.0.0.1:8099", "127.0.0.1", 8099),
        ("127.0.0.0/8:8099", "127.9.9.9", 8099),
        ("[::1]:8099", "::1", 8099),
        ("::1", "::1", 1),
        ("[fd00::/8]:443", "fd12::1", 443),
        ("fe80::/10", "fe80::1%1", 443),
    ],
)
def test_the_operator_can_allow_a_network_and_a_port(rule, address, port):
    AddressPolicy([rule]).check(address, port)


@pytest.mark.parametrize(
    ("rule", "address", "port"),
    [
        ("10.1.0.0/16", "10.2.0.1", 80),
        ("127.0.0.1:8099", "127.0.0.1", 8098),
        ("127.0.0.1:8099", "127.0.0.2", 8099),
        ("127.0.0.1:8099", "::ffff:127.0.0.1", 8099),
        ("127.0.0.0/8", "::1", 80),
        ("0.0.0.0/0", "::1", 80),
    ],
)
def test_a_rule_allows_nothing_beside_it(rule, address, port):
    with pytest.raises(AddressRefused, match=r"allow it with webhook_allow="):
        AddressPolicy([rule]).check(address, port)


def test_a_rule_on_a_name_counts_for_addresses_found_by_that_name_only():
    policy = AddressPolicy(["Hooks.internal:443"])
    policy.check("10.0.0.1", 443, name="hooks.INTERNAL.")
    for name, port in (("hooks.internal", 80), ("other.internal", 443), (None, 443)):
        with pytest.raises(AddressRefused):
            policy.check("10.0.0.1", port, name=name)


@pytest.mark.parametrize(
    "rule",
    ["", "10.0.0.1/8", "10.0.0.0/33", "host", "host:", "host:0", "host:99999", "::1:x", "a/b:80", ":80"],
)
def test_a_rule_that_cannot_be_read_is_named(rule):
    with pytest.raises(ValueError, match="webhook_allow"):
        AddressPolicy([rule])
