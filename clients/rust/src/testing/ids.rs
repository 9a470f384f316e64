//! Ids as a server makes them.

/// A UUID (version 4).
pub(super) fn new_id() -> String {
    let mut random = [0; 16];
    getrandom::fill(&mut random).expect("the system's random numbers can't be read");
    random[6] = random[6] & 0x0f | 0x40;
    random[8] = random[8] & 0x3f | 0x80;
    let digits = format!("{:032x}", u128::from_be_bytes(random));
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}
